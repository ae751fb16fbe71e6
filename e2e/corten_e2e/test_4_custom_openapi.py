"""What kubectl checks and explains of custom resources, by what their definitions publish. The older OpenAPI, which kubectl
before 1.27 reads, tells less of schemas that keep unknown fields."""

import json
import unittest

from . import shared

GROUP = "openapi.example.com"
KEEP = {"x-kubernetes-preserve-unknown-fields": True}
BARS = {"type": "array", "description": "List of Bars and their specs.", "items": {"type": "object", "required": ["name"], "properties": {
    "name": {"type": "string", "description": "Name of Bar."}, "age": {"type": "string", "description": "Age of Bar."},
    "feeling": {"type": "string", "enum": ["Great", "Down"]},
    "bazs": {"type": "array", "items": {"type": "string"}, "description": "List of Bazs."}}}}
SCHEMAS = {
    "Checked": {"type": "object", "description": "Checked for tests.", "properties": {
        "spec": {"type": "object", "description": "What is wanted of it.", "properties": {"bars": BARS}},
        "status": {"type": "object", "description": "How it is.", "properties": {"available": {"type": "integer"}}}}},
    "Unchecked": {"type": "object", **KEEP},
    "Rooted": {"type": "object", "description": "Anything at its root.", **KEEP, "properties": {
        "spec": {"type": "object", "properties": {"known": {"type": "string"}}}}},
    "Nested": {"type": "object", "description": "Anything in its spec.", "properties": {
        "spec": {"type": "object", "description": "Keeps fields that are not known.", **KEEP,
                 "properties": {"known": {"type": "string", "description": "A field that is."}}}}},
}
# By kubectl itself before 1.25, by the server since.
UNKNOWN, REQUIRED = r'unknown field "?(\S*\.)?%s"?', r'(missing required field "name"|spec\.bars\[0\]\.name: Required value)'


def definition(kind):
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMAS[kind]}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [version]}}


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        definitions = [definition(kind) for kind in SCHEMAS]
        cls.cluster.apply_all(definitions)
        names = [f"crd/{d['metadata']['name']}" for d in definitions]
        cls.addClassCleanup(cls.cluster.kubectl, "delete", *names)
        cls.cluster.kubectl("wait", *names, "--for=condition=Established", "--timeout=30s")

    def send(self, verb, kind, fields):
        text = json.dumps({"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": "one"}, **fields})
        return self.cluster.kubectl(verb, "-f", "-", stdin=text, check=False)

    def accepted(self, kind, first, then):
        """Both are kept as they are: the one created, the other applied."""
        for verb, fields in (("create", first), ("apply", then)):
            done = self.send(verb, kind, fields)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = self.cluster.get(f"{kind.lower()}s.{GROUP}", "one")
            self.assertEqual({key: found.get(key) for key in fields}, fields)
        self.cluster.kubectl("delete", f"{kind.lower()}s.{GROUP}", "one")

    def refused(self, kind, fields, pattern):
        for verb in ("create", "apply"):
            done = self.send(verb, kind, fields)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, pattern)

    def explain(self, path):
        return self.cluster.out("explain", path)

    def test_with_a_schema(self):
        bars = lambda **more: {"spec": {"bars": [{"name": "test-bar", "age": "10", **more}]}}
        self.accepted("Checked", bars(), bars(bazs=["one", "two"]))
        self.refused("Checked", bars(unknown="field"), UNKNOWN % "unknown")
        self.refused("Checked", {"spec": {"bars": [{"age": "10"}]}}, REQUIRED)
        self.refused("Checked", bars(feeling="Unsure"), r'spec\.bars\[0\]\.feeling: Unsupported value: "Unsure": supported values: "Great", "Down"')
        self.assertRegex(self.explain("checkeds"), r"(?s)DESCRIPTION:.*Checked for tests\..*FIELDS:.*apiVersion\s+<string>.*spec\s+<Object>.*What is wanted")
        self.assertRegex(self.explain("checkeds.metadata"), r"(?s)(FIELD|RESOURCE): metadata <(ObjectMeta|Object)>.*FIELDS:.*creationTimestamp\s+<string>")
        self.assertRegex(self.explain("checkeds.spec"), r"(?s)DESCRIPTION:.*What is wanted of it\..*FIELDS:.*bars\s+<\[\]Object>.*List of Bars")
        self.assertRegex(self.explain("checkeds.spec.bars"), r"(?s)(FIELD|RESOURCE): bars <\[\]Object>.*List of Bars.*bazs\s+<\[\]string>.*List of Bazs.*name\s+<string>.*Name of Bar")
        failed = self.cluster.kubectl("explain", "checkeds.spec.bars2", check=False)
        self.assertRegex(failed.stderr, 'field "bars2" does not exist')

    def test_without_a_schema(self):
        self.accepted("Unchecked", {"a": {"b": [{"c": "d"}]}}, {"a": {"b": [{"c": "e", "f": 1}]}})
        self.assertRegex(self.explain("uncheckeds"), r"(?s)KIND:\s+Unchecked\n.*DESCRIPTION:\n\s+<empty>")

    def test_keeping_unknown_fields_at_the_root(self):
        self.accepted("Rooted", {"spec": {"known": "a"}, "a": {"b": 1}}, {"spec": {"known": "b"}, "a": {"b": 2}, "c": True})
        self.assertRegex(self.explain("rooteds"), r"(?s)KIND:\s+Rooted\n.*DESCRIPTION:\s+(Anything at its root|<empty>)")

    def test_keeping_unknown_fields_inside(self):
        self.accepted("Nested", {"spec": {"known": "a", "b": {"c": [1]}}}, {"spec": {"known": "b", "b": {"c": [2]}, "d": "e"}})
        # Outside of the field they are not kept.
        self.refused("Nested", {"other": 1}, UNKNOWN % "other")
        self.assertRegex(self.explain("nesteds.spec"), r"(?s)KIND:\s+Nested\n.*DESCRIPTION:.*Keeps fields that are not known\.")
