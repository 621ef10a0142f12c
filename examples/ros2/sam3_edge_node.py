"""A ROS 2 node: camera images in, labelled masks and boxes with identities out, phrases changed by a topic.

python3 sam3_edge_node.py --ros-args -r image:=/camera/image_raw -p prompts:="['person']"
"""

import contextlib

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

import sam3_edge

CHANNELS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "mono8": (0, 0, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0)}


class Sam3Edge(Node):
    """Publishes `masks` (16UC1: an object's id plus 1) and `objects`; `look_for` takes phrases."""

    def __init__(self):
        super().__init__("sam3_edge")
        self.declare_parameter("bundle", "")
        self.declare_parameter("prompts", ["person"])
        self.model = sam3_edge.load(self.get_parameter("bundle").value or None)
        self.tracker = self.model.tracker()
        self.look_for(",".join(self.get_parameter("prompts").value))
        # One image at most waits: of those that come while the model works, the newest is taken.
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.masks = self.create_publisher(Image, "masks", 1)
        self.objects = self.create_publisher(Detection2DArray, "objects", 10)
        self.create_subscription(Image, "image", self.see, newest)
        self.create_subscription(String, "look_for", lambda message: self.look_for(message.data), 10)

    def look_for(self, phrases):
        """Look for these from the next image on; objects of phrases that stay keep their ids."""
        wanted = {phrase.strip().lower() for phrase in phrases.split(",") if phrase.strip()}
        for phrase in [name for name in self.tracker.concepts if name not in wanted]:
            self.tracker.remove(phrase)
        if fresh := sorted(wanted - self.tracker.concepts.keys()):
            self.tracker.add(fresh)

    def see(self, message):
        """One image."""
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        depth = {"mono8": 1, "rgb8": 3, "bgr8": 3}.get(message.encoding, 4)
        pixels = rows[:, : message.width * depth].reshape(message.height, message.width, depth)
        self.tracker.size = pixels.shape[:2]
        result = self.tracker.step(np.ascontiguousarray(pixels[..., CHANNELS[message.encoding]]))
        labels = np.zeros(pixels.shape[:2], np.uint16)
        found = Detection2DArray(header=message.header)
        for mask, box, id, name, sure in zip(
            result.masks, result.boxes, result.ids, result.names, result.presence, strict=True
        ):
            labels[mask] = id + 1
            found.detections.append(self.detection(message.header, box, int(id), name, float(sure)))
        height, width = labels.shape
        self.objects.publish(found)
        self.masks.publish(
            Image(
                header=message.header,
                height=height,
                width=width,
                encoding="16UC1",
                step=2 * width,
                data=labels.tobytes(),
            )
        )

    def detection(self, header, box, id, name, sure):
        """A box as vision_msgs has it: centre and size."""
        one = Detection2D(header=header, id=str(id))
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = name, sure
        one.results.append(hypothesis)
        one.bbox.center.position.x, one.bbox.center.position.y = map(float, (box[:2] + box[2:]) / 2)
        one.bbox.size_x, one.bbox.size_y = map(float, box[2:] - box[:2])
        return one


def main():
    rclpy.init()
    node = Sam3Edge()
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(node)
    node.model.close()


if __name__ == "__main__":
    main()
