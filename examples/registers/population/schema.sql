-- The population register of a ministry, as such registers are: PostgreSQL, text in TCVN3 in a database without an encoding
-- (SQL_ASCII), names in one column, days as text. Made up; no register in use looks exactly like this.

-- What the codes in personal identification numbers stand for, and until when. Numbers are allocated with those that still
-- stand for something.
CREATE TABLE dm_tinh (
    ma char(3) NOT NULL,
    ten varchar(60) NOT NULL,
    tu_ngay date,
    den_ngay date
);

-- Sexes, and what they add to the digit of the century in a number.
CREATE TABLE dm_gioi_tinh (ma char(1) PRIMARY KEY, so integer NOT NULL);
INSERT INTO dm_gioi_tinh VALUES ('1', 0), ('0', 1);

-- The last serial that was allocated, for each province, century with sex, and year of birth.
CREATE TABLE bo_dem (
    ma_tinh char(3) NOT NULL,
    the_ky char(1) NOT NULL,
    nam char(2) NOT NULL,
    so_cuoi integer NOT NULL CHECK (so_cuoi <= 999999),
    PRIMARY KEY (ma_tinh, the_ky, nam)
);

CREATE TABLE cong_dan (
    so_dinh_danh char(12) PRIMARY KEY,
    ho_ten varchar(120) NOT NULL,
    gioi_tinh char(1) NOT NULL,      -- 1 male, 0 female
    ngay_sinh varchar(10) NOT NULL,  -- DD/MM/YYYY; of old people 00/00/YYYY, or YYYY
    que_quan varchar(200),           -- native place, as it was called
    dan_toc varchar(30) NOT NULL,    -- ethnicity
    quoc_tich char(2) NOT NULL,      -- nationality
    so_me char(12),
    so_cha char(12),
    tinh_trang char(1) NOT NULL,     -- 1 alive, 0 not
    to_khai varchar(64) UNIQUE       -- the declaration that a number was allocated for
);
CREATE INDEX cong_dan_ngay_sinh ON cong_dan (ngay_sinh);

-- Identity papers, old and new.
CREATE TABLE giay_to (
    so_dinh_danh char(12) NOT NULL,
    loai varchar(4) NOT NULL,        -- CMND, CCCD
    so varchar(12) NOT NULL,
    ngay_cap date,
    noi_cap varchar(120)
);
CREATE INDEX giay_to_so_dinh_danh ON giay_to (so_dinh_danh);

-- Where somebody has lived. What a commune of before July 2025 was called stands in the address.
CREATE TABLE cu_tru (
    so integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    so_dinh_danh char(12) NOT NULL,
    loai char(1) NOT NULL,           -- 1 permanent, 2 temporary
    ma_xa char(5),
    dia_chi varchar(200),
    tu_ngay date NOT NULL,
    den_ngay date,
    to_khai varchar(64) UNIQUE
);
CREATE INDEX cu_tru_so_dinh_danh ON cu_tru (so_dinh_danh);
