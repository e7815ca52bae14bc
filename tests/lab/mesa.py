# SPDX-License-Identifier: BSD-2-Clause
"""Mesa of the lab's chroot, and the programs of tests/lab/gpu that use it."""
import os
import shutil
import subprocess

from lab import BUILD, HERE, ROOT, add_from_lab, copy, unpack_modules

ORIEL_GPU = os.path.join(BUILD, "oriel-gpu")
ICD = "/usr/share/vulkan/icd.d/"
# Where the programs of tests/lab/gpu are built, as the chroot sees it.
MADE = "/t/gpu"
SHADERS = {"fill.comp": ("fill_code", "fill.h"), "triangle.vert": ("vert_code", "triangle_vert.h"),
           "triangle.frag": ("frag_code", "triangle_frag.h")}


def make_programs():
    """In the chroot, whose libraries they use."""
    folder = ROOT + MADE
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(HERE, "gpu"), folder)
    shutil.copy(ORIEL_GPU, folder)
    commands = [f"glslangValidator -V --quiet --vn {name} -o {header} {source}" for source, (name, header) in SHADERS.items()]
    commands += ["gcc -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o vulkan vulkan.c -lvulkan",
                 "gcc -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o gl gl.c -lEGL -lGLESv2",
                 "gcc -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -shared -fPIC -o udmabuf.so udmabuf.c"]
    subprocess.run([os.path.join(HERE, "enter"), ROOT, "sh", "-ec", f"cd {MADE}\n" + "\n".join(commands)], check=True)


def add_mesa(tree):
    """A guest's driver for Vulkan, and what uses it."""
    for path in MADE + "/vulkan", "/usr/lib/x86_64-linux-gnu/libvulkan_virtio.so":
        add_from_lab(tree, path)
    copy(ROOT + ICD + "virtio_icd.json", tree + ICD + "virtio_icd.json")


def add_renderer(tree):
    """oriel-gpu, its render server, and Mesa's renderer on the CPU."""
    for path in (MADE + "/oriel-gpu", "/usr/libexec/virgl_render_server", "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
                 "/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so"):
        add_from_lab(tree, path)
    copy(ROOT + ICD + "lvp_icd.json", tree + ICD + "lvp_icd.json")


def add_modules(tree):
    """What a guest's init loads."""
    for number, path in enumerate(unpack_modules(os.path.dirname(tree), "virtio-gpu")):
        copy(path, f"{tree}/modules/{number:02}.ko")
