-- Where daily activities, activities and work sessions differ, by day and person: then one of the tables is incomplete,
-- or daily activities have what was moved or deleted. What was deleted may stay among the activities. No row is the good
-- news. Of each organization it leaves out the first and the last day of its activities, which may be read in part, and
-- what is outside: Hubstaff keeps daily activities for longer.
WITH by_day AS (
    SELECT organization_id, user_id, date, sum(tracked) AS tracked
    FROM tap_hubstaff.daily_activities
    GROUP BY 1, 2, 3
),
by_activity AS (
    SELECT organization_id, user_id, date, sum(tracked) AS tracked
    FROM tap_hubstaff.activities
    GROUP BY 1, 2, 3
),
by_session AS (
    SELECT
        sessions.organization_id,
        sessions.user_id,
        coalesce(days.date::date, sessions.date) AS date,
        sum(coalesce(days.tracked::integer, sessions.tracked)) AS tracked
    FROM tap_hubstaff.time_sessions AS sessions
    -- Work that goes on past midnight belongs to several days.
    LEFT JOIN LATERAL jsonb_each_text(sessions.tracked_by_date::jsonb) AS days (date, tracked) ON true
    WHERE sessions.superseded_by IS NULL
    GROUP BY 1, 2, 3
),
compared AS (
    SELECT
        organization_id,
        user_id,
        date,
        coalesce(by_day.tracked, 0) AS daily,
        least(coalesce(by_activity.tracked, 0), coalesce(by_session.tracked, 0)) AS exact
    FROM by_day
    FULL JOIN by_activity USING (organization_id, user_id, date)
    FULL JOIN by_session USING (organization_id, user_id, date)
),
days AS (
    SELECT organization_id, min(date) AS first_day, max(date) AS last_day
    FROM tap_hubstaff.activities
    GROUP BY 1
)
SELECT
    organization_id,
    organizations.name AS organization,
    compared.date,
    user_id,
    users.name AS person,
    compared.daily / 3600.0 AS daily_hours,
    compared.exact / 3600.0 AS activity_hours
FROM compared
JOIN days USING (organization_id)
LEFT JOIN tap_hubstaff.organizations ON organizations.id = organization_id
LEFT JOIN tap_hubstaff.users ON users.id = user_id
WHERE
    compared.date > days.first_day
    AND compared.date < days.last_day
    AND compared.daily <> compared.exact
