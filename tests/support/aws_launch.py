"""Launches both kinds of cluster.yaml's nodes by Ray's own code, at an AWS that is simulated here.

Run by the Python of the environment with moto; `sys.argv` has the file and the folder with Ray.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

# After those of this environment: its boto3 and what that needs come first.
sys.path.append(sys.argv[2])

import boto3
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config


def main(file: Path) -> None:
    # Ray waits for AWS to spread a new role.
    time.sleep = lambda seconds: None
    config = prepare_config(yaml.safe_load(file.read_text(encoding="utf-8")))
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
        made = make_group(ec2, f"ray-autoscaler-{config['cluster_name']}")
        config = bootstrap_aws(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name, kind in config["available_node_types"].items():
            extra = config["head_node"] if name == config["head_node_type"] else {}
            provider.create_node({**kind["node_config"], **extra}, {"ray-node-type": name}, 1)
        found = ec2.describe_instances()["Reservations"]
        instances = [instance for group in found for instance in group["Instances"]]
        (group,) = ec2.describe_security_groups(GroupIds=[made])["SecurityGroups"]
    print(json.dumps({"instances": instances, "group": group}, default=str))


def make_group(ec2: Any, name: str) -> str:
    """The nodes' security group, before Ray makes it, as docs/cluster.md tells."""
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    made = ec2.create_security_group(GroupName=name, Description="nodes", VpcId=vpc["VpcId"])
    return str(made["GroupId"])


main(Path(sys.argv[1]))
