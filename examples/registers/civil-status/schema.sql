-- The civil status register of a ministry of justice, as such registers are: MariaDB, text in VNI for Windows in latin1 columns,
-- names in three columns, days as text of which parts may be missing. Made up; no register in use looks exactly like this.
--
-- What the law lists for births (Law 60/2014, article 14): of the child names, sex, day and place of birth, native place, ethnicity,
-- nationality, personal number; of each parent name, year of birth, ethnicity, nationality, residence. Of marriages (article 17): of both
-- names, day of birth, ethnicity, nationality, residence, paper; the day of registration. All other columns are ours.

CREATE TABLE khai_sinh (
    so INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    ma_xa CHAR(5) NOT NULL,
    ngay_dang_ky DATE NOT NULL,
    ho VARCHAR(30), dem VARCHAR(60), ten VARCHAR(30),
    gioi_tinh VARCHAR(3) NOT NULL,
    ngay_sinh VARCHAR(10) NOT NULL,
    noi_sinh VARCHAR(200),
    que_quan VARCHAR(200),
    dan_toc VARCHAR(40),
    quoc_tich CHAR(2),
    so_dinh_danh CHAR(12) UNIQUE,
    me_ho_ten VARCHAR(120), me_nam_sinh VARCHAR(10), me_dan_toc VARCHAR(40), me_quoc_tich CHAR(2), me_noi_cu_tru VARCHAR(200), me_so CHAR(12),
    cha_ho_ten VARCHAR(120), cha_nam_sinh VARCHAR(10), cha_dan_toc VARCHAR(40), cha_quoc_tich CHAR(2), cha_noi_cu_tru VARCHAR(200), cha_so CHAR(12),
    bi_bo_roi CHAR(1) NOT NULL DEFAULT 'K',  -- C: a foundling
    giay_so VARCHAR(20) UNIQUE,              -- number and day of the certificate
    giay_ngay DATE,
    to_khai VARCHAR(64) UNIQUE
) ENGINE = InnoDB CHARACTER SET latin1 COLLATE latin1_swedish_ci;

CREATE TABLE ket_hon (
    so INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    ma_xa CHAR(5) NOT NULL,
    ngay_dang_ky DATE NOT NULL,
    chong_ho_ten VARCHAR(120), chong_ngay_sinh VARCHAR(10), chong_dan_toc VARCHAR(40), chong_quoc_tich CHAR(2), chong_noi_cu_tru VARCHAR(200), chong_so CHAR(12),
    vo_ho_ten VARCHAR(120), vo_ngay_sinh VARCHAR(10), vo_dan_toc VARCHAR(40), vo_quoc_tich CHAR(2), vo_noi_cu_tru VARCHAR(200), vo_so CHAR(12),
    to_khai VARCHAR(64) UNIQUE,
    INDEX (chong_so), INDEX (vo_so)
) ENGINE = InnoDB CHARACTER SET latin1 COLLATE latin1_swedish_ci;

CREATE TABLE khai_tu (
    so INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    ma_xa CHAR(5) NOT NULL,
    ngay_dang_ky DATE NOT NULL,
    so_dinh_danh CHAR(12) NOT NULL UNIQUE,
    ho_ten VARCHAR(120),
    ngay_mat VARCHAR(10) NOT NULL,
    noi_mat VARCHAR(200),
    nguyen_nhan VARCHAR(200),
    to_khai VARCHAR(64) UNIQUE
) ENGINE = InnoDB CHARACTER SET latin1 COLLATE latin1_swedish_ci;

-- Three operations that the law tells apart: TD change, CC correction, BS supplement.
CREATE TABLE thay_doi (
    so INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    loai CHAR(2) NOT NULL,
    ngay_dang_ky DATE NOT NULL,
    so_dinh_danh CHAR(12) NOT NULL,
    noi_dung VARCHAR(40) NOT NULL,
    cu VARCHAR(200), moi VARCHAR(200),
    to_khai VARCHAR(64) UNIQUE,
    INDEX (so_dinh_danh)
) ENGINE = InnoDB CHARACTER SET latin1 COLLATE latin1_swedish_ci;

-- Recognition of a father, mother or child (CM), and guardianship (GH): who stands to whom.
CREATE TABLE quan_he (
    so INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    loai CHAR(2) NOT NULL,
    ngay_dang_ky DATE NOT NULL,
    so_con CHAR(12) NOT NULL,
    so_nguoi CHAR(12) NOT NULL,
    vai_tro CHAR(1) NOT NULL,                -- M mother, C father, G guardian
    den_ngay DATE,
    to_khai VARCHAR(64) UNIQUE,
    INDEX (so_con)
) ENGINE = InnoDB CHARACTER SET latin1 COLLATE latin1_swedish_ci;

-- What is noted from a judgment or decision of others: LH divorce, NN adoption, QT nationality, MT missing or dead by declaration.
CREATE TABLE ghi_chu (
    so INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    loai CHAR(2) NOT NULL,
    ngay_ghi DATE NOT NULL,
    so_dinh_danh CHAR(12) NOT NULL,
    co_quan VARCHAR(120) NOT NULL,
    so_quyet_dinh VARCHAR(40) NOT NULL,
    noi_dung VARCHAR(200),
    to_khai VARCHAR(64) UNIQUE,
    INDEX (so_dinh_danh)
) ENGINE = InnoDB CHARACTER SET latin1 COLLATE latin1_swedish_ci;
