"""What people are shown: the plan of a dry run, what it would change, the summary, and a page with the posts.

``planning_api`` takes the writes of a dry run, ``plan`` counts what they come to, ``diff`` tells it post by post,
``summary`` tells what was done, and ``preview`` writes the page. Uses all other rooms, and none of them uses it.
"""
