"""Values that the examples of several models share."""

ID = "1764000000000-0"
LATER_ID = "1764000004211-0"
TIME = "2026-01-30T09:30:00.123456Z"
LATER = "2026-01-30T09:30:04.211037Z"
PAIRS = ["EUR_USD", "GBP_USD"]
EUR_USD = {"bid": "1.09450", "ask": "1.09470", "mid": "1.09460", "time": TIME}
GBP_USD = {"bid": "1.27120", "ask": "1.27141", "mid": "1.27130", "time": TIME}
