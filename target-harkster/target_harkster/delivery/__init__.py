"""From rows to posts, each published once: what is to be done, in which order, and what happens when it fails.

``outbox`` takes parcels and STATEs in their order, ``decision`` compares them with the ledger, ``first_run_guard``
holds back too many, ``courier`` delivers what can be delivered by the steps of ``delivery``, within ``post_quota``.
``channels`` opens channels; ``mirror`` deletes what is gone, ``moves`` what was replaced in another channel;
``reject_retries`` and ``previous_post`` look back. Uses the rooms ``layout``, ``ledger`` and ``vendor``.
"""
