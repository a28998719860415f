"""Singer tap for the Hustle v3 API."""
