CREATE TABLE person (id TEXT, name TEXT, born TEXT, alive INTEGER, weight NUMERIC, photo BLOB);
INSERT INTO person VALUES
    ('001087123456', 'Nguyễn Thị Ánh', '1987-02-28', 1, 51.5, x'00ff'),
    ('001185123456', 'Trần Văn Bình', NULL, 0, 60, NULL),
    ('079306000001', 'Lê Chi', '2006-01-02', 1, NULL, NULL),
    ('079306000001', 'Lê Chi Mai', '2006-01-02', 1, NULL, NULL),
    ('079306000001', 'Lê Chi Lan', '2006-01-02', 1, NULL, NULL),
    ('014200000001', 'Vũ Dung', '00/00/1953', 1, NULL, NULL);
CREATE TABLE unit (code INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO unit SELECT i, 'Unit ' || i FROM n;
