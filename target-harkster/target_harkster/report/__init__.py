"""What people are shown: the plan of a dry run, what it would change, the summary, and a page with the posts.

``plan`` counts what would be done, ``diff`` tells it field by field, ``summary`` tells what was done, and ``preview``
writes the page. Uses all other rooms, and none of them uses it.
"""
