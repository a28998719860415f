"""The Hustle v3 API, simulated from its documents."""
