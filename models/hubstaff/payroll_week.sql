-- What each person worked in each week from Monday to Sunday, and what that comes to at the rate that Hubstaff has for
-- the member now: an earlier rate is not in the list of members. The week in which work sessions begin may be read in
-- part.
WITH by_day AS (
    SELECT
        sessions.organization_id,
        sessions.user_id,
        coalesce(days.date::date, sessions.date) AS date,
        coalesce(days.tracked::integer, sessions.tracked) AS tracked
    FROM tap_hubstaff.time_sessions AS sessions
    -- Work that goes on past midnight belongs to several days.
    LEFT JOIN LATERAL jsonb_each_text(sessions.tracked_by_date::jsonb) AS days (date, tracked) ON true
    WHERE sessions.superseded_by IS NULL
)
SELECT
    by_day.organization_id,
    organizations.name AS organization,
    date_trunc('week', by_day.date)::date AS week,
    by_day.user_id,
    users.name AS person,
    sum(by_day.tracked) / 3600.0 AS hours,
    members.pay_rate::numeric AS pay_rate,
    members.currency,
    round(sum(by_day.tracked) / 3600.0 * members.pay_rate::numeric, 2) AS amount
FROM by_day
LEFT JOIN tap_hubstaff.organizations ON organizations.id = by_day.organization_id
LEFT JOIN tap_hubstaff.users ON users.id = by_day.user_id
LEFT JOIN tap_hubstaff.members
    ON members.organization_id = by_day.organization_id AND members.user_id = by_day.user_id
GROUP BY 1, 2, 3, 4, 5, 7, 8
