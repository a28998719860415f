"""What lists are made of. Rows are in the order of their `key`, and `page_start_id` is one of these."""

from api_sandbox.hubstaff.activity import Activity
from api_sandbox.hubstaff.daily import DailyRow
from api_sandbox.hubstaff.records import Record

Row = Activity | DailyRow | Record
