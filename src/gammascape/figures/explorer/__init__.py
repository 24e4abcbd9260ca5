"""The page on which the plane of a study is looked into: points at networks and shows their lives."""
