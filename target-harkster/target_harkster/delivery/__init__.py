"""From rows to posts, each published once: what is to be done, in which order, and what happens when it fails.

``parcel_queue`` takes parcels and STATEs in order, ``decision`` compares them with the ledger, ``first_run_guard``
stops too many, ``courier`` delivers what can be delivered by the steps of ``exactly_once``, within ``post_quota``.
``channels`` opens channels, and ``adoption`` enters the posts that are found there. ``mirror`` deletes what is gone,
``moves`` what was replaced in another channel. ``reject_retries`` and ``previous_post`` look back. Uses the rooms
``layout``, ``ledger`` and ``vendor``.
"""
