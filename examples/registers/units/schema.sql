-- The register of administrative units and agencies, as such registers are: SQLite. The units are the official list; the
-- agencies are a few of the demonstration's.

CREATE TABLE DM_DVHC (
    MA_DVHC CHAR(5) PRIMARY KEY,
    CAP CHAR(1) NOT NULL,            -- T province, X commune
    LOAI_HINH VARCHAR(60),
    TEN_DVHC VARCHAR(120) NOT NULL,
    MA_TINH CHAR(2),
    TU_NGAY CHAR(10) NOT NULL,       -- valid since; until is open for all of today's
    DEN_NGAY CHAR(10)
);

-- What the codes in personal identification numbers stand for depends on the day.
CREATE TABLE DM_TINH_SO_DINH_DANH (
    MA CHAR(3) NOT NULL,
    TEN VARCHAR(60) NOT NULL,
    TU_NGAY CHAR(10),
    DEN_NGAY CHAR(10)
);

-- Agencies by their code of today (Decision 20/2020). Codes of before are not made of it in any way: they stand in the other table.
CREATE TABLE DM_CO_QUAN (
    MA VARCHAR(35) PRIMARY KEY,
    TEN VARCHAR(200) NOT NULL,
    TU_NGAY CHAR(10) NOT NULL,
    DEN_NGAY CHAR(10)
);

CREATE TABLE MA_CU (
    MA_CU VARCHAR(35) PRIMARY KEY,
    MA VARCHAR(35) NOT NULL REFERENCES DM_CO_QUAN (MA)
);
