"""The image's bill of materials, in CycloneDX: Debian's packages as dpkg describes them, the crates that are linked into the
binary as cargo resolves them, and the C libraries that some of those bring along.

    sbom.py write --binary FILE --root DIR --digest SHA256 --epoch SECONDS --out FILE
    sbom.py check FILE --binary FILE --root DIR --digest SHA256

Nothing in it depends on when or where it is written. `check` knows from the binary itself which crates must be there.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import uuid

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

WORKSPACE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = "marketplace"  # the package with the binary
# Crates that compile a library from source. Its version is in theirs, behind the +.
BUNDLED = {
    "librocksdb-sys": ("facebook", "rocksdb", "Apache-2.0"),
    "rdkafka-sys": ("confluentinc", "librdkafka", "BSD-2-Clause"),
    "zstd-sys": ("facebook", "zstd", "BSD-3-Clause"),
    "lz4-sys": ("lz4", "lz4", "BSD-2-Clause"),
}
# A panic's place, as rustc writes it into a binary.
PLACE = re.compile(rb"registry/src/[^/\0]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[^/\0]*)/")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(value):
    return [HashType(alg=HashAlgorithm.SHA_256, content=value)]


def licenses(text):
    """crates.io took A/B for A OR B once, and some crates still say it so."""
    return [LicenseFactory().make_from_string(text.replace("/", " OR "))] if text else []


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked"]
    done = subprocess.run(command, cwd=WORKSPACE, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"sbom: {' '.join(command)} failed: {done.stderr}")
    return done.stdout


def linked():
    """Each package that is linked into the binary, by name and version, with those it links in turn."""
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    triple = f"{machine}-unknown-linux-gnu"
    # The tree knows which features are on, and metadata the licences: neither says both. Macros run when it is built.
    tree = cargo("tree", "--package", PROGRAM, "--edges", "normal,no-proc-macro", "--target", triple, "--prefix", "none", "--format", "{p}")
    inside = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", triple))
    of_id = {package["id"]: package for package in metadata["packages"]}
    known = {id: package for id, package in of_id.items() if (package["name"], f"v{package['version']}") in inside}
    if len(known) != len(inside):
        sys.exit(f"sbom: cargo tree has {len(inside)} packages, of which cargo metadata describes {len(known)}")
    locked = re.findall(r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"', (WORKSPACE / "Cargo.lock").read_text())
    sums = {(name, version): checksum for name, version, checksum in locked}
    edges = {
        node["id"]: [edge["pkg"] for edge in node["deps"] if edge["pkg"] in known and any(kind["kind"] is None for kind in edge["dep_kinds"])]
        for node in metadata["resolve"]["nodes"]
    }
    return known, edges, sums


def write(arguments):
    name, version, revision = subprocess.run([arguments.binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
    image = Component(
        name=name,
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        purl=PackageURL("oci", name=name, version=arguments.digest),
        licenses=licenses("MIT OR Apache-2.0"),
    )
    program = Component(name=name, version=f"{version} {revision}", type=ComponentType.APPLICATION, bom_ref="program", hashes=sha256(digest(arguments.binary)))
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, arguments.digest),
        metadata=BomMetaData(component=image, timestamp=datetime.datetime.fromtimestamp(arguments.epoch, datetime.timezone.utc)),
    )
    bom.metadata.tools.components.add(Component(name="infra/container/sbom.py", type=ComponentType.APPLICATION))
    bom.components.add(program)

    debian = {package["Package"]: package for package in packages(arguments.root)}
    components = {}
    for package in debian.values():
        source = package.get("Source", package["Package"]).split()[0]
        qualifiers = {"arch": package["Architecture"], "distro": "debian-12", "upstream": source}
        purl = PackageURL("deb", "debian", package["Package"], package["Version"], qualifiers)
        components[package["Package"]] = Component(name=package["Package"], version=package["Version"], bom_ref=str(purl), purl=purl)
        bom.components.add(components[package["Package"]])
    for package in debian.values():
        wanted = {re.split(r"[ (|:]", one.strip())[0] for one in package.get("Depends", "").split(",")}
        bom.register_dependency(components[package["Package"]], [components[name] for name in sorted(wanted & components.keys())])

    known, edges, sums = linked()
    crates = {}
    for id, package in known.items():
        purl = PackageURL("cargo", name=package["name"], version=package["version"])
        checksum = sums.get((package["name"], package["version"]))
        crates[id] = Component(
            name=package["name"], version=package["version"], bom_ref=str(purl), purl=purl if checksum else None,  # ours are on no registry
            licenses=licenses(package["license"]), hashes=sha256(checksum) if checksum else None,
        )
        bom.components.add(crates[id])
    for id, crate in crates.items():
        below = [crates[edge] for edge in edges[id]]
        owner, library, license = BUNDLED.get(crate.name, (None, None, None))
        if library:
            number = re.search(r"\d[\d.]*$", crate.version.split("+", 1)[1]).group()
            purl = PackageURL("github", owner, library, f"v{number}")
            bundled = Component(name=library, version=number, bom_ref=str(purl), purl=purl, licenses=licenses(license))
            bom.components.add(bundled)
            below.append(bundled)
        bom.register_dependency(crate, below)
    with open(arguments.binary, "rb") as file:
        rust = re.search(rb"rustc version (\S+)", file.read()).group(1).decode()
    purl = PackageURL("github", "rust-lang", "rust", rust)
    standard = Component(name="rust-std", version=rust, bom_ref=str(purl), purl=purl, licenses=licenses("MIT OR Apache-2.0"))
    bom.components.add(standard)

    main = next(crate for crate in crates.values() if crate.name == PROGRAM)
    bom.register_dependency(program, [main, standard, *components.values()])
    bom.register_dependency(image, [program])
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    pathlib.Path(arguments.out).write_text(text + "\n")


def packages(root):
    """The packages of the image's root, as their control files describe them."""
    found = []
    for file in sorted((pathlib.Path(root) / "var/lib/dpkg/status.d").iterdir()):
        fields = (line.split(": ", 1) for line in file.read_text().splitlines() if line[:1] not in " \t" and ": " in line)
        found.append(dict(fields))
    return found


def check(arguments):
    text = pathlib.Path(arguments.file).read_text()
    wrong = []
    refused = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if refused:
        sys.exit(f"sbom: {arguments.file} is not CycloneDX 1.6: {refused}")
    bom = json.loads(text)
    there = {(component["name"], component.get("version")) for component in bom["components"]}
    with open(arguments.binary, "rb") as file:
        crates = {(name.decode(), version.decode()) for name, version in PLACE.findall(file.read())}
    if len(crates) < 50:
        wrong.append(f"{arguments.binary} names {len(crates)} crates only: is it stripped of its panics' places?")
    wrong += [f"the binary has code of {name} {version}, which is not listed" for name, version in sorted(crates - there)]
    debian = {(package["Package"], package["Version"]) for package in packages(arguments.root)}
    listed = {(component["name"], component["version"]) for component in bom["components"] if component.get("purl", "").startswith("pkg:deb/")}
    wrong += [f"{name} {version} is in the image or in the list, not in both" for name, version in sorted(debian ^ listed)]
    if bom["metadata"]["component"]["purl"] != str(PackageURL("oci", name="daybook", version=arguments.digest)):
        wrong.append(f"it is of another image than {arguments.digest}")
    program = next(component for component in bom["components"] if component["bom-ref"] == "program")
    if program["hashes"][0]["content"] != digest(arguments.binary):
        wrong.append(f"it is of another binary than {arguments.binary}")
    if wrong:
        sys.exit(f"sbom: {arguments.file}: " + "\nsbom: ".join(wrong))
    print(f"{len(bom['components'])} components, {len(debian)} of Debian; all {len(crates)} crates that the binary names are among them")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for verb, run in (("write", write), ("check", check)):
        own = verbs.add_parser(verb)
        own.set_defaults(run=run)
        if verb == "check":
            own.add_argument("file")
        else:
            own.add_argument("--epoch", type=int, required=True)
            own.add_argument("--out", required=True)
        for name in ("--binary", "--root", "--digest"):
            own.add_argument(name, required=True)
    arguments = parser.parse_args()
    arguments.run(arguments)


main()
