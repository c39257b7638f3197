"""The picture of a run as one HTML page, which needs nothing else and fits into a mail.

    document -> figure -> columns, scale
                legend -> columns

The page is made of values alone, and is the same for the same run. Text of the service is escaped.
"""
