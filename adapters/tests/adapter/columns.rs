//! A register with thirty years of conventions: padding, sentinels, lost zeros, codes, dates in parts.

use prost_reflect::Value;
use tonic::Code;

use crate::harness::{Place, reason, replace, string, text};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
sqlite = "register.db"

[[methods]]
name = "Find"
kind = "unary"
sql = """
SELECT SO, HO, DEM, TEN, TEN_CHA, GT, SONG, NGAY, NGAY_CAP, THE FROM CD
WHERE SO IN (:number) AND (:sex IS NULL OR GT IN (:sex)) AND (:issued IS NULL OR NGAY_CAP IN (:issued))
    AND (:card IS NULL OR THE = :card) AND (:alive IS NULL OR SONG IN (:alive))
"""
subject = "number"
request = [
    { name = "number", type = "text", digits = 12 },
    { name = "sex", type = "text", codes = { 0 = "female", 1 = "male" }, required = false },
    { name = "issued", type = "date", format = ["DD/MM/YYYY", "YYYYMMDD"], required = false },
    { name = "card", type = "text", padded_to = 20, required = false },
    { name = "alive", type = "boolean", yes = ["C", "1"], no = "K", required = false },
]
reply = [
    { name = "number", column = "SO", type = "text", digits = 12 },
    { name = "full_name", columns = ["HO", "DEM", "TEN"], type = "text", trim = true },
    { name = "father_family_name", column = "TEN_CHA", type = "text", part = "family", absent = "" },
    { name = "father_given_name", column = "TEN_CHA", type = "text", part = "given" },
    { name = "sex", column = "GT", type = "text", codes = { 0 = "female", 1 = "male" } },
    { name = "alive", column = "SONG", type = "boolean", yes = ["C", "1"], no = "K" },
    { name = "born", column = "NGAY", type = "partial-date", format = ["DD/MM/YYYY", "YYYY"] },
    { name = "issued_on", column = "NGAY_CAP", type = "date", format = ["DD/MM/YYYY", "YYYYMMDD"], absent = ["", "01/01/1900"] },
    { name = "card", column = "THE", type = "text", trim = true, absent = ["", "0"] },
]
sample = { number = "001087123456", issued = "1999-12-31" }
"#;

const DATABASE: &str = "
CREATE TABLE CD (SO NUMERIC, HO TEXT, DEM TEXT, TEN TEXT, TEN_CHA TEXT, GT INTEGER, SONG TEXT, NGAY TEXT, \
                        NGAY_CAP TEXT, THE CHAR(20));
INSERT INTO CD VALUES
    ('001087123456', 'Nguyễn  ', 'Thị Minh', 'Ánh ', 'Nguyễn Văn An', 0, 'C', '00/00/1953', '19991231',
     'TE101               '),
    (92201000041, 'Lê', NULL, 'Chi', '', 1, 'K', '1960', '01/01/1900', '0'),
    (92201000042, 'Lê', NULL, 'Chi', NULL, 2, 'K', '1960', '', NULL);
";

#[tokio::test]
async fn conventions_are_read_and_looked_for_by_configuration_alone() {
    let adapter = Place::over(CONFIGURATION, DATABASE).await.serve().await;
    let mut client = adapter.client().await;
    let number = ("number", string("001087123456"));
    let found = client
        .ask("Find", std::slice::from_ref(&number))
        .await
        .unwrap();
    let plain: Vec<_> = found
        .iter()
        .filter(|(name, _)| name != "born")
        .cloned()
        .collect();
    let expected = [
        number.clone(),
        ("full_name", string("Nguyễn Thị Minh Ánh")),
        ("father_family_name", string("Nguyễn")),
        ("father_given_name", string("An")),
        ("sex", string("female")),
        ("alive", Value::Bool(true)),
        ("issued_on", string("1999-12-31")),
        ("card", string("TE101")),
    ];
    assert_eq!(
        plain,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    let born = found.iter().find(|(name, _)| name == "born");
    let Some((_, Value::Message(born))) = born else {
        panic!("{found:?}");
    };
    let parts: Vec<_> = born
        .fields()
        .map(|(field, value)| (field.name().to_owned(), value.clone()))
        .collect();
    assert_eq!(parts, [("year".to_owned(), Value::I32(1953))]);

    let narrowed = [
        number,
        ("sex", string("female")),
        ("issued", string("1999-12-31")),
        ("card", string("TE101")),
        ("alive", Value::Bool(true)),
    ];
    assert_eq!(client.ask("Find", &narrowed).await.unwrap(), found);
    for (field, value) in [
        ("sex", string("male")),
        ("alive", Value::Bool(false)),
        ("issued", string("1999-12-30")),
    ] {
        let others = [narrowed[0].clone(), (field, value)];
        let status = client.ask("Find", &others).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{field}");
    }

    let found = client
        .ask("Find", &[("number", string("092201000041"))])
        .await
        .unwrap();
    let names: Vec<_> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["number", "full_name", "sex", "alive", "born"]);
    assert_eq!(found[0].1, string("092201000041"));
    assert_eq!(found[1].1, string("Lê Chi"));
}

#[tokio::test]
async fn what_no_rule_knows_is_refused_by_field_and_never_shown() {
    let adapter = Place::over(CONFIGURATION, DATABASE).await.serve().await;
    let mut client = adapter.client().await;
    let status = client
        .ask("Find", &[("number", string("092201000042"))])
        .await
        .unwrap_err();
    let sex = ("VALUE_UNREADABLE".to_owned(), Some("sex".to_owned()));
    assert_eq!(reason(&status, "field"), sex);
    assert!(
        status.message().contains("one of the declared codes"),
        "{status:?}"
    );
    for (field, value) in [
        ("number", string("92201000041")),
        ("number", string("09220100004x")),
        ("sex", string("0")),
        ("issued", string("31/12/1999")),
        ("issued", string("1999-02-30")),
    ] {
        let asked = [("number", string("092201000041")), (field, value)];
        let status = client.ask("Find", &asked).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(reason(&status, "field").1.as_deref(), Some(field));
    }
}

#[tokio::test]
async fn the_proto_has_the_partial_date_and_check_tries_the_rules() {
    let place = Place::over(CONFIGURATION, DATABASE).await;
    let proto = text(&place.run("proto", &[]).stdout);
    assert!(
        proto.contains("  optional PartialDate born = 7;\n"),
        "{proto}"
    );
    assert!(
        proto.contains("message PartialDate {\n  optional int32 year = 1;\n"),
        "{proto}"
    );
    assert!(
        proto.contains("  // One of: female, male.\n  optional string sex = 5;\n"),
        "{proto}"
    );
    let checked = place.run("check", &[]);
    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(
        said.contains(
            "Find: 5 parameters, 9 columns\n  plan: SCAN CD (reads all of it)\n  sample of 1 rows\n"
        ),
        "{said}"
    );
    assert!(said.contains("    full_name: 3 TEXT\n"), "{said}");
}

#[tokio::test]
async fn rules_that_do_not_fit_are_said_with_their_line() {
    let rule = "a field has one of";
    for (from, to, expected) in [
        (
            "SO IN (:number)",
            "SO = :number",
            "several ways; write COLUMN IN (:number)",
        ),
        (
            "type = \"text\", digits = 12 },\n    { name = \"full",
            "type = \"integer\", digits = 12 },\n    { name = \"full",
            rule,
        ),
        ("part = \"given\"", "part = \"given\", digits = 3", rule),
        (
            "\"partial-date\", format = [\"DD/MM/YYYY\", \"YYYY\"]",
            "\"partial-date\"",
            rule,
        ),
        ("\"YYYYMMDD\"], absent", "\"YYYY\"], absent", rule),
        ("\"YYYYMMDD\"], absent", "\"YYMMDD\"], absent", rule),
        ("no = \"K\", required", "no = \"C\", required", rule),
        (
            "columns = [\"HO\", \"DEM\", \"TEN\"]",
            "columns = [\"HO\"]",
            "`columns` joins two or more",
        ),
        (
            "type = \"date\", format = [\"DD/MM/YYYY\", \"YYYYMMDD\"], required",
            "type = \"partial-date\", format = \"YYYY\", required",
            "answered and not asked for",
        ),
        (
            "part = \"given\"",
            "part = \"first\"",
            "unknown variant `first`",
        ),
    ] {
        let place = Place::over(&replace(CONFIGURATION, from, to), DATABASE).await;
        let said = text(&place.run("proto", &[]).stderr);
        assert!(
            said.contains(expected) && said.contains("line "),
            "{expected}\n{said}"
        );
    }
}
