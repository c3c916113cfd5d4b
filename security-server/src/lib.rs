//! The two routes of a security server: consume and provide.
