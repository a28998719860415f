"""Shows people what a run does: the plan of a dry run, what it would change, the summary, and a page with the posts.

``planning_api`` takes the writes of a dry run, ``plan`` counts them, ``diff`` lists them post by post, ``summary`` logs
what was done, and ``preview`` writes the page. It uses all other rooms. No other room uses it.
"""
