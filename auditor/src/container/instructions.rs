//! `VERIFY.txt`: how to verify a container with unzip, sha256sum and openssl alone.

use super::Evidence;
use crate::{container::statement::message_name, messages::kept_message};

/// For messages that were signed together with others.
const BATCHES: &str = r#"
   The manifest of a message that was signed in a batch leads to the root that was signed, up the tree
   of the batch (RFC 6962):

    sha256_of() { printf "$(echo "$1" | sed 's/../\\x&/g')" | sha256sum | cut -c 1-64; }
    for file in *.manifest; do
        node=$(sha256_of "00$(sha256sum "$file" | cut -c 1-64)")
        while read -r side hash; do
            case $side in
                left) node=$(sha256_of "01$hash$node") ;;
                right) node=$(sha256_of "01$node$hash") ;;
                *) node=neither ;;
            esac
        done < "${file%.*}.path"
        printf "$(echo "$node" | sed 's/../\\x&/g')" | cmp -s - "batch-$node.root" \
            && echo "$file: OK" || echo "$file: NOT IN ITS BATCH"
    done
"#;

/// The text of a container. The commands are for bash and OpenSSL 3.
pub(crate) fn text(evidence: &Evidence) -> String {
    let Evidence {
        exchange,
        log,
        checkpoint,
        records,
    } = evidence;
    let (size, count) = (checkpoint.unverified().size, records.len());
    let messages = records
        .iter()
        .filter(|proven| message_name(&proven.record).is_some())
        .count();
    let batched = records
        .iter()
        .any(|proven| kept_message(&proven.record).is_ok_and(|message| message.batch().is_some()));
    let batches = if batched { BATCHES } else { "" };
    let text = format!(
        r#"Evidence of exchange {exchange}
from the log {log}: {messages} messages, {count} records, proven under a checkpoint of {size} records.

To verify all of it, offline, trusting nothing but the anchor of the instance:

    auditor verify THIS_FILE.asice --anchor anchor.json

What follows needs bash, unzip, sha256sum and OpenSSL 3 alone, and verifies the signatures of the
messages and of the checkpoint. Unpack first, and go where it was unpacked:

    unzip -q THIS_FILE.asice -d evidence && cd evidence

1. Each manifest was signed by the member that its certificate names (CAdES, at the signing time):

    while read -r part time; do
        openssl cms -verify -cades -binary -inform DER \
            -in "META-INF/signature-$part.p7s" -content "META-INF/ASiCManifest-$part.xml" \
            -CAfile META-INF/evidence/authorities.pem -attime "$time" -out /dev/null || echo "$part: REFUSED"
    done < META-INF/evidence/signing-times

2. Each header and content is the one that its manifest lists. Content that was destroyed after its
   term, or never kept (of refusals), is not there:

    for file in *.header *.content *.root; do
        [ -e "$file" ] || continue
        manifest="META-INF/ASiCManifest-${{file%.*}}.xml"
        [ -e "$manifest" ] || manifest="${{file%.*}}.manifest"
        digest=$(sha256sum "$file" | cut -c 1-64 | sed 's/../\\x&/g')
        grep -qF ">$(printf "$digest" | base64)<" "$manifest" \
            && echo "$file: OK" || echo "$file: CHANGED"
    done
{batches}
3. The server signed the checkpoint over its log:

    head -n 3 META-INF/evidence/checkpoint | cmp - META-INF/evidence/checkpoint.text
    openssl pkeyutl -verify -pubin -inkey META-INF/evidence/log-key.pem -rawin \
        -in META-INF/evidence/checkpoint.text -sigfile META-INF/evidence/checkpoint.signature

Compare the certificates in authorities.pem and the key in log-key.pem with those that the governing
authority publishes: a container can be made under other ones. That they are registered is proven by
META-INF/evidence/records.json from the anchor on; so is that each record is in the log. There, "leaf"
is what the leaf hash is made over and "proof" its inclusion proof, both in base64 (RFC 6962).

Not proven by any container: that nothing else was asked, and that a right which allowed the call had
not been withdrawn before. For that, verify the whole log.
"#
    );
    // What is no command is a comment, so that the whole text can be pasted.
    let lines = text.lines().map(|line| match line.strip_prefix("    ") {
        Some(command) if !command.starts_with("auditor ") => format!("{command}\n"),
        _ if line.is_empty() => "\n".to_owned(),
        _ => format!("# {line}\n"),
    });
    lines.collect()
}
