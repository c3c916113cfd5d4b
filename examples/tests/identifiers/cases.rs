//! Calls with wrong identifiers, and what each must be told.

use examples::mirror;
use tonic::Code;

use crate::stage::{Certificate, Door, OFFICES};

const FIND: &str = "/same.offices.v1.Offices/FindOffice";

/// A call that must be refused before it is signed.
pub struct Case {
    pub what: &'static str,
    pub door: Door,
    pub path: &'static str,
    pub metadata: Vec<(&'static str, &'static str)>,
    pub code: Code,
    pub refusal: &'static str,
    pub fault: &'static str,
    /// What the message must name.
    pub names: &'static str,
}

/// A call to the registry of B that is right in all that a case does not change.
pub fn right_call(what: &'static str, door: Door) -> Case {
    Case {
        what,
        door,
        path: FIND,
        metadata: vec![("x-road-service", "VN/GOV/B/registry")],
        code: Code::Ok,
        refusal: "",
        fault: "client",
        names: "",
    }
}

pub fn wrong_service_names() -> Vec<Case> {
    let invalid = |what, service, names| Case {
        metadata: vec![("x-road-service", service)],
        code: Code::InvalidArgument,
        refusal: "consumer.invalid_metadata",
        names,
        ..right_call(what, Door::Plaintext("desk"))
    };
    let unknown = |what, service, names| Case {
        code: Code::NotFound,
        refusal: "consumer.unknown_service",
        ..Case {
            door: Door::Plaintext("counter"),
            ..invalid(what, service, names)
        }
    };
    vec![
        Case {
            metadata: Vec::new(),
            names: "no x-road-service",
            ..invalid("no service named", "", "")
        },
        Case {
            metadata: vec![
                ("x-road-service", "VN/GOV/B/registry"),
                ("x-road-service", "VN/GOV/C/registry"),
            ],
            names: "x-road-service is given more than once",
            ..invalid("two services named", "", "")
        },
        invalid(
            "the fifth part is another service than the path's",
            "VN/GOV/B/registry/other.v1.Offices",
            OFFICES,
        ),
        invalid("an empty fifth part", "VN/GOV/B/registry/", OFFICES),
        invalid(
            "six parts",
            "VN/GOV/B/registry/same.offices.v1.Offices/FindOffice",
            OFFICES,
        ),
        invalid("three parts", "VN/GOV/B", "INSTANCE/CLASS/MEMBER/SUBSYSTEM"),
        invalid(
            "an empty part",
            "VN//B/registry",
            "INSTANCE/CLASS/MEMBER/SUBSYSTEM",
        ),
        invalid(
            "a step of a path",
            "VN/GOV/../registry",
            "INSTANCE/CLASS/MEMBER/SUBSYSTEM",
        ),
        invalid(
            "a space",
            "VN/GOV/B/regi stry",
            "INSTANCE/CLASS/MEMBER/SUBSYSTEM",
        ),
        invalid("no UTF-8", "VN/GOV/B/registry%ff", "percent-encoded"),
        unknown(
            "another instance",
            "LA/GOV/B/registry",
            "another instance than VN",
        ),
        unknown("another class", "VN/COM/B/registry", "VN/COM/B/registry"),
        unknown(
            "an unknown member",
            "VN/GOV/Z/registry",
            "VN/GOV/Z/registry",
        ),
        unknown(
            "an unknown subsystem",
            "VN/GOV/B/archive",
            "VN/GOV/B/archive",
        ),
        unknown(
            "a member in the wrong case",
            "VN/GOV/b/registry",
            "VN/GOV/b",
        ),
        unknown(
            "an instance in the wrong case",
            "vn/GOV/B/registry",
            "vn/GOV",
        ),
        unknown(
            "a subsystem that offers nothing",
            "VN/GOV/A/desk",
            "VN/GOV/A/desk",
        ),
        Case {
            path: "/same.offices.v1.offices/FindOffice",
            names: "same.offices.v1.offices",
            ..unknown("a service in the wrong case", "VN/GOV/B/registry", "")
        },
        Case {
            path: mirror::LOOK,
            names: mirror::SERVICE,
            ..unknown("a service of the namesake", "VN/GOV/C/registry", "")
        },
    ]
}

pub fn wrong_paths() -> Vec<Case> {
    let paths = [
        ("a query", "/same.offices.v1.Offices/FindOffice?code=01"),
        ("an empty query", "/same.offices.v1.Offices/FindOffice?"),
        ("one segment more", "/same.offices.v1.Offices/FindOffice/01"),
        ("a slash at the end", "/same.offices.v1.Offices/FindOffice/"),
        ("two slashes", "//same.offices.v1.Offices/FindOffice"),
        ("percent-encoding", "/same.offices.v1.Offices/%46indOffice"),
        ("a step of a path", "/same.offices.v1.Offices/../FindOffice"),
        ("no method", "/same.offices.v1.Offices"),
    ];
    paths
        .map(|(what, path)| Case {
            path,
            code: Code::InvalidArgument,
            refusal: "consumer.invalid_path",
            names: "/package.Service/Method",
            ..right_call(what, Door::Plaintext("wanderer"))
        })
        .into()
}

pub fn wrong_callers() -> Vec<Case> {
    let named = |what, door, client| Case {
        metadata: vec![
            ("x-road-service", "VN/GOV/B/registry"),
            ("x-road-client", client),
        ],
        code: Code::PermissionDenied,
        refusal: "consumer.foreign_subsystem",
        names: client,
        ..right_call(what, door)
    };
    let typist = Door::Plaintext("typist");
    let with_certificate = Door::Tls(Certificate::Of("typist"));
    let unidentified = |what, certificate, names| Case {
        code: Code::Unauthenticated,
        refusal: "consumer.not_identified",
        names,
        ..right_call(what, Door::Tls(certificate))
    };
    vec![
        named("the listener of another subsystem", typist, "VN/GOV/A/desk"),
        named("a subsystem of another member", typist, "VN/GOV/B/registry"),
        named("the caller in the wrong case", typist, "VN/GOV/A/Typist"),
        Case {
            code: Code::InvalidArgument,
            refusal: "consumer.invalid_metadata",
            names: "x-road-client",
            ..named("a caller that is no subsystem", typist, "typist")
        },
        named(
            "a certificate registered for another subsystem",
            with_certificate,
            "VN/GOV/A/desk",
        ),
        named(
            "a certificate, and a subsystem of another member",
            with_certificate,
            "VN/GOV/C/registry",
        ),
        unidentified("no certificate", Certificate::None, "no client certificate"),
        unidentified(
            "a certificate nobody registered",
            Certificate::Unregistered,
            "is not registered at this server",
        ),
        Case {
            metadata: vec![
                ("x-road-service", "VN/GOV/B/registry"),
                ("x-road-client", "VN/GOV/A/desk"),
            ],
            ..unidentified(
                "a name instead of a certificate",
                Certificate::None,
                "no client certificate",
            )
        },
        Case {
            code: Code::Unavailable,
            refusal: "consumer.subsystem_disabled",
            fault: "consumer",
            names: "VN/GOV/A/sleeping is disabled",
            ..right_call("a disabled subsystem", Door::Plaintext("sleeping"))
        },
        Case {
            code: Code::Unavailable,
            refusal: "consumer.subsystem_disabled",
            fault: "consumer",
            names: "VN/GOV/A/sleeping is disabled",
            ..right_call(
                "a disabled subsystem with a certificate",
                Door::Tls(Certificate::Of("sleeping")),
            )
        },
    ]
}
