//! Names as people have them: surnames, middle and given names of men and women, by ethnicity.

/// The names of one ethnicity.
pub(super) struct Names {
    /// As registers call it.
    pub(super) ethnicity: &'static str,
    /// Repeated as often as they are common.
    pub(super) surnames: &'static [&'static str],
    /// Middle names; an empty one is none.
    pub(super) middle: [&'static [&'static str]; 2],
    /// Given names; some are of two words, of which the first stands among the middle names.
    pub(super) given: [&'static [&'static str]; 2],
}

/// Where men's names stand in the lists, and women's.
pub(super) const MALE: usize = 0;
pub(super) const FEMALE: usize = 1;

/// What most people are.
pub(super) const KINH: Names = Names {
    ethnicity: "Kinh",
    surnames: &[
        "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Trần", "Trần", "Lê", "Lê",
        "Phạm", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô",
        "Dương", "Lý", "Đoàn", "Vương", "Trịnh", "Đinh", "Lâm", "Mai", "Tô", "Tạ",
    ],
    middle: [
        &[
            "Văn", "Văn", "Văn", "Hữu", "Đức", "Minh", "Quốc", "Xuân", "Công", "Đình", "Thanh",
            "Quang", "Ngọc", "Gia", "Anh", "Bảo", "Thế", "Duy", "",
        ],
        &[
            "Thị",
            "Thị",
            "Thị",
            "Thị",
            "Ngọc",
            "Thu",
            "Thị Mỹ",
            "Thị Kim",
            "Thị Thanh",
            "Bích",
            "Kim",
            "Phương",
            "Thùy",
            "Khánh",
            "Diệu",
            "Thị Hồng",
            "Minh",
            "Bảo",
            "",
        ],
    ],
    given: [
        &[
            "Anh",
            "Bình",
            "Chiến",
            "Cường",
            "Dũng",
            "Đạt",
            "Đức",
            "Hải",
            "Hiếu",
            "Hòa",
            "Hùng",
            "Hưng",
            "Huy",
            "Khang",
            "Khánh",
            "Khôi",
            "Lộc",
            "Long",
            "Mạnh",
            "Nam",
            "Nghĩa",
            "Ổn",
            "Phong",
            "Phúc",
            "Quân",
            "Quý",
            "Sơn",
            "Sĩ",
            "Tài",
            "Thắng",
            "Thịnh",
            "Thủy",
            "Toàn",
            "Trí",
            "Trung",
            "Trường",
            "Tuấn",
            "Tùng",
            "Việt",
            "Vinh",
            "Vỹ",
            "Ý",
        ],
        &[
            "An",
            "Ánh",
            "Bích",
            "Châu",
            "Chi",
            "Diễm",
            "Duyên",
            "Giang",
            "Hà",
            "Hằng",
            "Hạnh",
            "Hiền",
            "Hoa",
            "Hồng",
            "Huệ",
            "Hương",
            "Huyền",
            "Lan",
            "Liên",
            "Linh",
            "Loan",
            "Ly",
            "Mai",
            "My",
            "Nga",
            "Ngân",
            "Nhàn",
            "Nhung",
            "Oanh",
            "Phượng",
            "Quyên",
            "Quỳnh",
            "Sữu",
            "Thảo",
            "Thúy",
            "Thủy",
            "Tiên",
            "Trang",
            "Trúc",
            "Tuyết",
            "Ước",
            "Uyên",
            "Vân",
            "Vy",
            "Xuân",
            "Yến",
        ],
    ],
};

/// Who live in some provinces beside them: the codes of those provinces today, and their names.
pub(super) const OTHERS: [(&[&str], Names); 6] = [
    (
        &["04", "08", "19", "20"],
        Names {
            ethnicity: "Tày",
            surnames: &["Nông", "Hoàng", "Bế", "Ma", "Lương", "Triệu", "Lục"],
            middle: [
                &["Văn", "Đức", "Quốc", "Trung"],
                &["Thị", "Thị", "Thúy", "Hồng"],
            ],
            given: KINH.given,
        },
    ),
    (
        &["11", "12", "14", "15"],
        Names {
            ethnicity: "Thái",
            surnames: &["Lò", "Quàng", "Cà", "Tòng", "Lường", "Hà", "Vì", "Cầm"],
            middle: [&["Văn", "Văn", "Quốc"], &["Thị", "Thị", "Hồng"]],
            given: KINH.given,
        },
    ),
    (
        &["08", "11", "12", "15"],
        Names {
            ethnicity: "Mông",
            surnames: &["Giàng", "Vàng", "Sùng", "Thào", "Lý", "Hạng", "Cứ"],
            middle: [&["A"], &["Thị"]],
            given: [
                &["Chư", "Dơ", "Lử", "Páo", "Sình", "Tủa", "Vừ", "Súa"],
                &["Chở", "Dợ", "Mỷ", "Pà", "Sua", "Xúa", "Dính"],
            ],
        },
    ),
    (
        &["25"],
        Names {
            ethnicity: "Mường",
            surnames: &["Bùi", "Đinh", "Quách", "Hà", "Xa", "Bạch"],
            middle: [&["Văn", "Quang"], &["Thị", "Thị", "Ngọc"]],
            given: KINH.given,
        },
    ),
    (
        &["52", "66"],
        Names {
            ethnicity: "Ê Đê",
            surnames: &["Niê", "Mlô", "Êban", "Kbuôr", "Ayun"],
            middle: [&["Y"], &["H'"]],
            given: [
                &["Bhăm", "Bliư", "Djao", "Khoăn", "Thuyên"],
                &["Bion", "Linh", "Ngăm", "Hương", "Wăn"],
            ],
        },
    ),
    (
        &["86", "91", "92", "96"],
        Names {
            ethnicity: "Khmer",
            surnames: &["Thạch", "Kim", "Sơn", "Danh", "Lâm", "Kiên", "Châu"],
            middle: [&["", "Minh", "Thanh"], &["Thị", "Thị", ""]],
            given: [
                &["Dara", "Phol", "Rinh", "Sóc", "Sa Rươl", "Phước", "Tha"],
                &["Sa Phia", "Thia", "Sươl", "Ngọc", "Sa Rây", "Liêu"],
            ],
        },
    ),
];
