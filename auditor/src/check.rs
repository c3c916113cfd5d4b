//! The kinds of check, each with its name and its words.

/// What of a log a check is about; the table of the report is grouped by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The files and the bytes in them.
    Files,
    /// The Merkle tree and its checkpoint.
    Tree,
    /// The global configuration, from the anchor on.
    Configuration,
    /// Each message alone.
    Messages,
    /// The messages of one exchange together.
    Exchanges,
    /// What the server says about its messages and itself.
    Statements,
}

impl Subject {
    /// The heading in the table.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Files => "Files",
            Self::Tree => "Merkle tree",
            Self::Configuration => "Global configuration",
            Self::Messages => "Messages",
            Self::Exchanges => "Exchanges",
            Self::Statements => "What the server adds",
        }
    }
}

/// Declares the checks in one table: variant, subject, stable name, what was checked in words.
macro_rules! checks {
    ($($variant:ident $subject:ident $name:literal $words:literal;)+) => {
        /// A kind of check. Its name is stable; reports for machines use it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $(#[doc = $words] $variant,)+
        }

        impl Check {
            /// Every check, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name, e.g. `messages.signature`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What is checked, in words.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }

            /// What it is about.
            #[must_use]
            pub const fn subject(self) -> Subject {
                match self { $(Self::$variant => Subject::$subject,)+ }
            }
        }
    };
}

checks! {
    Identity Files "files.identity" "the log says which server's log it is";
    Records Files "files.records" "records read; segments, batch chain, checksums and padding as written";
    Container Files "container.files" "files of the container are those that its records lead to";
    TornFiles Files "files.torn" "cut tails (.torn files), each with the record that states it";

    Leaves Tree "tree.leaf" "leaves computed from the bytes of the records";
    Checkpoint Tree "tree.checkpoint" "checkpoint signed by the log key registered for this server";
    Inclusion Tree "tree.inclusion" "records proven to be in the log that the checkpoint was signed over";
    Root Tree "tree.root" "root over the leaves is the one in the checkpoint";

    RootDocuments Configuration "configuration.root" "root documents follow from the anchor";
    Heads Configuration "configuration.head" "heads of the configuration verify under the root document";
    Serials Configuration "configuration.serial" "serials of the heads and their publications never go back";
    Memberships Configuration "configuration.membership" "proofs of membership lead to a recorded head";

    Forms Messages "messages.form" "header and signature are well formed";
    Contents Messages "messages.content" "kept content is the one that the header names";
    InForce Messages "messages.configuration" "decided under a configuration that was in force";
    Certificates Messages "messages.certificate" "signing certificate vouched for by an approved authority";
    Signatures Messages "messages.signature" "signature verifies";
    Speakers Messages "messages.speaker" "the speaker may speak: server, subsystem and member agree";
    Times Messages "messages.time" "the time claimed fits the time recorded";

    Once Exchanges "exchanges.once" "exchange opened once";
    Order Exchanges "exchanges.order" "messages follow each other and answer their requests";
    Rights Exchanges "exchanges.right" "allowed by a recorded access right that was in force";
    Refusals Exchanges "exchanges.refusal" "refused request answered by its refusal";
    Promises Exchanges "exchanges.promise" "reply promises where its request is kept; our own promises are true";
    PromisesKept Exchanges "exchanges.promise_kept" "promised record proven to be in the log of the other server";
    Closings Exchanges "exchanges.closing" "closing record names the last messages of its exchange";

    Annexes Statements "server.annex" "annexes fit their records";
    LocalForms Statements "server.record" "local records are what their kind says";
    PeerCheckpoints Statements "server.peer_checkpoint" "what other servers proved of their logs comes to what is recorded";
    Changes Statements "server.change" "changes of the local state apply in order";
}
