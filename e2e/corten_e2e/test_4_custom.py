"""Custom resources, with kubectl: from a definition to the end of its instances."""

import unittest

from . import shared

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [crons]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What the crontab runs.
            properties:
              cronSpec: {type: string, pattern: '^(\\S+ ){4}\\S+$', description: When it runs.}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10}
          status:
            type: object
            properties: {replicas: {type: integer}, phase: {type: string}}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
"""

OBJECT = """
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine}
spec: {cronSpec: "* * * * 5", replicas: 2}
"""


class Custom(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = shared.cluster()
        cls.cluster.apply(DEFINITION)
        cls.cluster.wait("crd/crontabs.stable.example.com", "condition=Established")
        cls.cluster.apply(OBJECT)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.kubectl("delete", "crd/crontabs.stable.example.com", "--ignore-not-found")

    def value(self, path, name="mine"):
        return self.cluster.out("get", "crontab", name, "-o", f"jsonpath={{{path}}}").strip()

    def test_get_prints_the_columns(self):
        for name in ("ct", "crontabs", "crons"):
            table = self.cluster.out("get", name).splitlines()
            self.assertRegex(table[0], r"^NAME +SPEC +REPLICAS +AGE$", name)
            self.assertRegex(table[1], r"^mine +\* \* \* \* 5 +\d+ +\d+[ms]", name)
        self.assertEqual(self.value(".spec.image"), "busybox")

    def test_explain_tells_the_fields(self):
        text = self.cluster.out("explain", "crontab.spec")
        self.assertIn("What the crontab runs.", text)
        self.assertRegex(text, r"cronSpec\s+<string>")

    def test_wrong_objects_are_refused(self):
        answer = self.cluster.kubectl("patch", "ct", "mine", "--type=merge", "-p", '{"spec":{"replicas":11}}', check=False)
        self.assertIn("spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10", answer.stderr)
        unknown = OBJECT.replace("replicas: 2", "replica: 2").replace("mine", "other")
        answer = self.cluster.kubectl("apply", "-f", "-", stdin=unknown, check=False)
        # kubectl before 1.25 checks by OpenAPI itself and has words of its own.
        self.assertRegex(answer.stderr, r'unknown field "(spec\.)?replica"')

    def test_scale(self):
        self.cluster.kubectl("scale", "crontab", "mine", "--replicas=5")
        self.assertEqual(self.value(".spec.replicas"), "5")

    def test_status_is_a_subresource(self):
        def change(found):
            found["spec"]["replicas"] = 9
            found["status"] = {"phase": "Up"}

        before = self.value(".spec.replicas")
        path = self.cluster.get("ct", "mine")
        path = f"/apis/{path['apiVersion']}/namespaces/{path['metadata']['namespace']}/crontabs/mine/status"
        self.cluster.replace_raw(path, change)
        self.assertEqual(self.value(".status.phase"), "Up")
        self.assertEqual(self.value(".spec.replicas"), before)

    def test_server_side_apply(self):
        text = OBJECT.replace("mine", "applied")
        self.cluster.apply(text, "--server-side", "--field-manager=one")
        other = text.replace("replicas: 2", "replicas: 3")
        arguments = ("apply", "-f", "-", "--server-side", "--field-manager=two")
        answer = self.cluster.kubectl(*arguments, stdin=other, check=False)
        self.assertIn('conflict with "one"', answer.stderr)
        self.cluster.kubectl(*arguments, "--force-conflicts", stdin=other)
        self.assertEqual(self.value(".spec.replicas", "applied"), "3")

    def test_the_namespace_takes_them_along(self):
        self.cluster.kubectl("create", "namespace", "crons")
        self.cluster.apply(OBJECT, "-n", "crons")
        self.cluster.kubectl("delete", "namespace", "crons")
        self.assertEqual(self.cluster.out("get", "ct", "-A", "-o", "jsonpath={.items[?(@.metadata.namespace=='crons')].metadata.name}"), "")

    def test_deleting_the_definition_deletes_them(self):
        text = DEFINITION.replace("crontabs", "crontabs2").replace("crontab,", "crontab2,").replace("CronTab", "CronTab2")
        # Not in the category: kubectl goes on asking for what its cached discovery lists there.
        self.cluster.apply(text.replace("[ct]", "[ct2]").replace("[crons]", "[]"))
        self.cluster.wait("crd/crontabs2.stable.example.com", "condition=Established")
        self.cluster.apply(OBJECT.replace("CronTab", "CronTab2"))
        self.cluster.kubectl("delete", "crd", "crontabs2.stable.example.com")
        answer = self.cluster.kubectl("get", "crontabs2", check=False)
        self.assertRegex(answer.stderr, "the server doesn't have a resource type|the server could not find the requested resource")


if __name__ == "__main__":
    unittest.main()
