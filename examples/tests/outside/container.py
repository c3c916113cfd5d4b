"""Verifies an evidence container with libraries that Lienthong does not use.

container.py FILE [NAME]: the signatures with asn1crypto and cryptography, each digest with hashlib, the
checkpoint by the text of C2SP signed-note and the inclusion of every record by RFC 9162, 2.1.3.2.
What does not hold ends it with an exception; else it prints what was verified as JSON. With NAME,
one bit in the middle of that file is flipped before, so that it must not hold.
"""

import base64
import hashlib
import json
import sys
import xml.etree.ElementTree as ElementTree
import zipfile

from asn1crypto import cms
from asn1crypto import tsp  # noqa: F401  (teaches cms the signing certificate attribute)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ASIC = "{http://uri.etsi.org/02918/v1.2.1#}"
XMLDSIG = "{http://www.w3.org/2000/09/xmldsig#}"


def sha256(data):
    return hashlib.sha256(data).digest()


def must(holds, what):
    if not holds:
        raise SystemExit(f"does not hold: {what}")


def manifest_of(files, message):
    """The manifest of a message, which is what was signed unless that was its batch."""
    batched = files.get(f"{message}.manifest")
    return batched or files[f"META-INF/ASiCManifest-{message}.xml"]


def must_list(files, manifest):
    """Every file that a manifest lists is the one that it lists."""
    for reference in ElementTree.fromstring(manifest).findall(f"{ASIC}DataObjectReference"):
        digest = base64.b64decode(reference.find(f"{XMLDSIG}DigestValue").text)
        name = reference.get("URI")
        must(sha256(files[name]) == digest, f"the digest of {name}")


def signed_by(files, message):
    """What was signed of a message: itself, or the batch to whose root its path leads."""
    if f"{message}.path" not in files:
        return message
    node = sha256(b"\x00" + sha256(files[f"{message}.manifest"]))
    for line in files[f"{message}.path"].decode().splitlines():
        side, sibling = line.split(" ")
        sibling = bytes.fromhex(sibling)
        node = sha256(b"\x01" + (sibling + node if side == "left" else node + sibling))
    batch = f"batch-{node.hex()}"
    must(files.get(f"{batch}.root") == node, f"the batch of {message}")
    must_list(files, files[f"{message}.manifest"])
    return batch


def signer_of(files, message):
    """The subject of whoever signed a message, by manifests and CAdES signature alone."""
    name = signed_by(files, message)
    manifest = files[f"META-INF/ASiCManifest-{name}.xml"]
    signed = cms.ContentInfo.load(files[f"META-INF/signature-{name}.p7s"])["content"]
    signer = signed["signer_infos"][0]
    attributes = {each["type"].native: each["values"] for each in signer["signed_attrs"]}
    must(attributes["message_digest"][0].native == sha256(manifest), "the digest of the manifest")
    named = attributes["signing_certificate_v2"][0]["certs"][0]["cert_hash"].native
    certificates = [choice.chosen for choice in signed["certificates"]]
    certificate = next(each for each in certificates if sha256(each.dump()) == named)
    key = x509.load_der_x509_certificate(certificate.dump()).public_key()
    attributes = signer["signed_attrs"].untag().dump()
    key.verify(signer["signature"].native, attributes, ec.ECDSA(hashes.SHA256()))
    must_list(files, manifest)
    return certificate.subject.native["organization_identifier"]


def checkpoint_of(files):
    """Origin, size and root of the checkpoint, if the key beside it has signed it."""
    note = files["META-INF/evidence/checkpoint"].decode()
    text, signatures = note.split("\n\n", 1)
    text += "\n"
    origin, size, root = text.splitlines()
    key = serialization.load_pem_public_key(files["META-INF/evidence/log-key.pem"])
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    dash, name, signature = signatures.splitlines()[0].split(" ")
    must((dash, name) == ("\u2014", origin), "the name of the key")
    signature = base64.b64decode(signature)
    must(signature[:4] == sha256(origin.encode() + b"\n\x01" + raw)[:4], "the id of the key")
    key.verify(signature[4:], text.encode())
    return origin, int(size), base64.b64decode(root)


def includes(root, size, index, leaf, proof):
    """RFC 9162, section 2.1.3.2."""
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = sha256(b"\x01" + sibling + computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = sha256(b"\x01" + computed + sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and computed == root


def main(path, flipped=None):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if flipped is not None:
        changed = bytearray(files[flipped])
        changed[len(changed) // 2] ^= 1
        files[flipped] = bytes(changed)
    origin, size, root = checkpoint_of(files)
    records = json.loads(files["META-INF/evidence/records.json"])["records"]
    signers = {}
    for record in records:
        preimage = base64.b64decode(record["leaf"])
        proof = [base64.b64decode(each) for each in record["proof"]]
        leaf = sha256(b"\x00" + preimage)
        must(includes(root, size, record["index"], leaf, proof), f"record {record['index']}")
        # The preimage: version, kind, digest of the message, of its signature, of the annex.
        must(sha256(base64.b64decode(record["annex"])) == preimage[66:98], "an annex")
        must(preimage[1] == record["kind"], "a kind")
        if "body" in record:
            must(preimage[2:34] == sha256(base64.b64decode(record["body"])), "a body")
        if "message" in record:
            message = record["message"]
            manifest = manifest_of(files, message)
            must(preimage[2:34] == sha256(manifest), f"the record of {message}")
            signers[message] = signer_of(files, message)
    print(json.dumps({"log": origin, "records": len(records), "signers": signers}))


main(*sys.argv[1:])
