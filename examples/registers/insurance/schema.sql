-- The register of health insurance cards, as such registers are: SQLite, CHAR columns padded with spaces, code lists. Made up;
-- no register in use looks exactly like this.

-- The last number of social insurance that was given out.
CREATE TABLE BO_DEM (LOAI CHAR(4) PRIMARY KEY, SO_CUOI INTEGER NOT NULL);

-- The provinces that cards are issued in, by the codes of personal identification numbers.
CREATE TABLE DM_TINH (MA CHAR(3) PRIMARY KEY);

CREATE TABLE THE_BHYT (
    SO_BHXH CHAR(10) PRIMARY KEY,    -- the ten digits that also new cards print
    MA_DOI_TUONG CHAR(2) NOT NULL,   -- TE: child under six
    MUC_HUONG CHAR(1) NOT NULL,
    MA_TINH CHAR(2) NOT NULL,        -- the last two digits of the province
    LOAI CHAR(1) NOT NULL,           -- T temporary, C full
    HO_TEN CHAR(60) NOT NULL,        -- of a child without a name that of the mother
    NGAY_SINH CHAR(10) NOT NULL,
    GIOI_TINH CHAR(1) NOT NULL,
    SO_DINH_DANH CHAR(12) UNIQUE,
    TU_NGAY CHAR(10) NOT NULL,
    DEN_NGAY CHAR(10) NOT NULL,
    TO_KHAI CHAR(64) UNIQUE
);
