#!/usr/bin/env python3
"""A ROS 2 node that publishes Tarsier's reports as vision_msgs/Detection2DArray.

    source /opt/ros/<distribution>/setup.bash        # with ros-<distribution>-vision-msgs installed
    python3 ros2_bridge.py --ros-args -p path:=/run/tarsier/tarsier.sock -p frame_id:=camera

| topic | type | |
|---|---|---|
| `~/detections` (published) | `vision_msgs/Detection2DArray` | a message per report, also where nothing was found |
| `~/events` (published) | `std_msgs/String` | events as JSON: what appeared and is gone (`"event":"scene"`), lost reports, states |
| `~/presence` (published) | `std_msgs/String` | whether names are in the picture at all, as JSON with the stamp of the detections; where the task has `presence` |
| `~/prompts` (subscribed) | `std_msgs/String` | what to look for: a JSON list of texts, or texts separated by commas |

| parameter | default | |
|---|---|---|
| `path` | `/run/tarsier/tarsier.sock` | the socket, or a tty |
| `speed` | 115200 | of a tty |
| `frame_id` | `camera` | of the messages' headers |
| `continued` | true | whether what is `continued` is published |

The stamp is the report's wall-clock time of capture; over a tty, whose binary reports have none, the time of arrival less the latency.
The connection is made again when it is lost. `Detection2D.id` is Tarsier's track, empty where a thing has none yet. A hypothesis' score is
that of the frame alone: vision_msgs has no place for `smoothed_score`. What a track only continues, because its own score is too low in this
frame, is published too, with that score; set `continued` to false to leave it out. Over a tty that is not known, and all is published.
"""

import json
import sys
import threading
import time

from tarsier_client import Refused, connect


def texts(text):
    """Prompts from a message: a JSON list, or texts separated by commas."""
    try:
        prompts = json.loads(text)
    except ValueError:
        prompts = [part.strip() for part in text.split(",") if part.strip()]
    return prompts if isinstance(prompts, list) else [str(prompts)]


def stamp(report, now):
    """Seconds and nanoseconds of a report; `now` is the wall clock in seconds."""
    given = report["header"].get("stamp")
    if given:
        return given["sec"], given["nanosec"]
    nanoseconds = int(now * 1e9) - report["latency_us"] * 1000
    return nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000


def fill(array, report, frame_id, now, new_detection, new_hypothesis, continued=True):
    """Fills a Detection2DArray from a report; messages are made by the two functions, so that this needs no ROS."""
    array.header.stamp.sec, array.header.stamp.nanosec = stamp(report, now)
    array.header.frame_id = frame_id
    for found in report["detections"]:
        if found.get("continued") and not continued:
            continue
        detection, box = new_detection(), found["bbox"]
        detection.header = array.header
        detection.id = found.get("id", "")
        detection.bbox.center.position.x = float(box["center"]["x"])
        detection.bbox.center.position.y = float(box["center"]["y"])
        detection.bbox.size_x = float(box["size_x"])
        detection.bbox.size_y = float(box["size_y"])
        for result in found["results"]:
            hypothesis = new_hypothesis()
            hypothesis.hypothesis.class_id = result["class_id"]
            hypothesis.hypothesis.score = float(result["score"])
            detection.results.append(hypothesis)
        array.detections.append(detection)
    return array


def presence(message, stamped):
    """The presence that a message has, as JSON, or None: one of ROS's own messages for it there is not. `stamped`: the last report's
    number and stamp, for over a tty it comes behind its report."""
    if "presence" not in message:
        return None
    seq, (sec, nanosec) = stamped
    if message["header"]["seq"] != seq:
        return None
    fields = {key: message[key] for key in ("run", "presence", "presence_counts")}
    return json.dumps({"header": {"seq": seq, "stamp": {"sec": sec, "nanosec": nanosec}}, **fields}, ensure_ascii=False)


def main():
    try:
        import rclpy
        from rclpy.executors import ExternalShutdownException
        from rclpy.node import Node
        from std_msgs.msg import String
        from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
    except ImportError as e:
        sys.exit(
            f"ros2_bridge: {e}. This is a ROS 2 node: run `source /opt/ros/<distribution>/setup.bash` first, and install "
            "ros-<distribution>-vision-msgs. Without ROS, use tarsier_client.py."
        )

    class Bridge(Node):
        def __init__(self):
            super().__init__("tarsier")
            self.path = self.declare_parameter("path", "/run/tarsier/tarsier.sock").value
            self.speed = self.declare_parameter("speed", 115200).value
            self.frame_id = self.declare_parameter("frame_id", "camera").value
            self.continued = self.declare_parameter("continued", True).value
            self.detections = self.create_publisher(Detection2DArray, "~/detections", 10)
            self.events = self.create_publisher(String, "~/events", 10)
            self.presence, self.stamped = self.create_publisher(String, "~/presence", 10), None
            self.create_subscription(String, "~/prompts", self.set_prompts, 10)
            self.link, self.prompts = None, None
            threading.Thread(target=self.read, daemon=True).start()

        def set_prompts(self, message):
            self.prompts = texts(message.data)
            if self.link:
                try:
                    self.link.send("set_prompts", prompts=self.prompts)
                except OSError as e:  # the reader notices too, and they are set again with the next connection
                    self.get_logger().warning(f"prompts: {e}")

        def read(self):
            while rclpy.ok():
                try:
                    with connect(self.path, self.speed) as link:
                        self.get_logger().info(f"connected to {self.path}")
                        if self.prompts:
                            link.command("set_prompts", prompts=self.prompts)
                        self.link = link
                        for message in link:
                            self.publish(message)
                    why = "closed"
                except (OSError, Refused, TimeoutError, ValueError) as e:
                    why = e
                self.link = None
                self.get_logger().warning(f"{self.path}: {why}; trying again", throttle_duration_sec=10)
                time.sleep(1)

        def publish(self, message):
            if message["type"] == "report":
                self.stamped = message["header"]["seq"], stamp(message, time.time())
                array = fill(
                    Detection2DArray(), message, self.frame_id, time.time(), Detection2D, ObjectHypothesisWithPose, self.continued
                )
                self.detections.publish(array)
            elif message["type"] == "event":
                self.events.publish(String(data=json.dumps(message, ensure_ascii=False)))
            elif message["type"] == "reply" and not message["ok"]:
                self.get_logger().error(message["error"]["text"])
            said = self.stamped and presence(message, self.stamped)
            if said:
                self.presence.publish(String(data=said))

    rclpy.init()
    node = Bridge()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
