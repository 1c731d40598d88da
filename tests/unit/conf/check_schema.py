#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds YAML files against the schema of the configuration: check_schema.py SCHEMA taken|refused FILE...

Exit status 77: a Python module is missing.
"""
import json
import sys

try:
    import jsonschema
    import yaml
except ImportError as error:
    print(f"{error}: install python3-jsonschema and python3-yaml")
    sys.exit(77)


def main():
    schema_path, wanted, *paths = sys.argv[1:]
    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    wrong = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            error = jsonschema.exceptions.best_match(validator.iter_errors(yaml.safe_load(file)))
        if (error is None) != (wanted == "taken"):
            wrong += 1
            print(f"{path}: not {wanted}{': ' + error.message if error else ''}")
    sys.exit(1 if wrong or not paths else 0)


if __name__ == "__main__":
    main()
