"""The whole picture as one torch module: the reference of what is exported, and a renderer of its own.

Does what `engine.render` does step by step, in operations that runtimes on a GPU have without plug-ins, in
float32 and without rounding in between. A fetch is `grid_sample`, whose bicubic kernel is that of
`engine.render.kernels`: cubic convolution (Keys, 1981) with a = -0.75, edges repeated. Needs torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.arrays import U8Image
from engine.picture.contract import ARMS, BODIES, EYES, FACE_PARTS, FLOWS, PATCHES, body_cells, patch_cells
from engine.picture.graph_flows import looked, solved
from engine.picture.graph_mesh import FaceMesh, filled
from engine.render.composer import AGREE, fine_px
from engine.render.kernels import PHASES
from engine.render.patches import outline_soft_px
from engine.render.prior import (
    HAND_SOFTNESS,
    MATTE_HIGH,
    MATTE_LOW,
    PATCH_SOFTNESS,
    TOP_FADE_PX,
    reach_px,
)
from engine.render.sampler import DRAW_SHIFT_PX
from engine.render.scene import Layout
from engine.render.temporal_cache import noise_field
from engine.render.warp import SOFTNESS


class PictureGraph(nn.Module):
    """See the module. Takes `engine.picture.contract.graph_inputs` in their order, gives `graph_outputs`.

    network: of the denoiser's inputs and output. plate: (S, S, 3) uint8. layout: how the canvas lies in the
    frame that leaves; None: the canvas is the frame. steps: as of `engine.render.sampler.sample`.
    """

    plate: Tensor
    field: Tensor
    canvas: Tensor
    softness: Tensor
    pixels: Tensor
    still: Tensor
    inside: Tensor

    def __init__(
        self, network: nn.Module, plate: U8Image, layout: Layout | None = None, steps: int = 1
    ) -> None:
        super().__init__()
        size = len(plate)
        self.network, self.size, self.steps, self.layout = network, size, steps, layout
        self._keep("plate", _planes(plate).half())  # whole numbers up to 2048 are exact
        self._keep("canvas", torch.tensor([[0.0, 0.0, size, size, *(body_cells(size),) * 2]] * len(FLOWS)))
        soft = [SOFTNESS] * len(FLOWS) + [PATCH_SOFTNESS] * len(FACE_PARTS) + [HAND_SOFTNESS] * len(ARMS)
        self._keep("softness", torch.tensor(soft) ** 2)
        self.mesh = FaceMesh(size)
        self._keep("field", torch.from_numpy(noise_field(size)).permute(2, 0, 1)[None])
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        self._keep("pixels", torch.stack([columns, rows], -1)[None].float())
        if layout is not None:
            self._keep("still", _planes(layout.still).half())
            self._keep("inside", torch.from_numpy(layout.inside.copy())[None, None])

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.contiguous(), persistent=False)

    def forward(
        self,
        previous: Tensor,
        torso: Tensor,
        head: Tensor,
        mouth: Tensor,
        eye_left: Tensor,
        eye_right: Tensor,
        arm_far: Tensor,
        arm_near: Tensor,
        structure: Tensor,
        hands: Tensor,
        face: Tensor,
        outline: Tensor,
        arms: Tensor,
        pairs: Tensor,
        patch_boxes: Tensor,
        ellipses: Tensor,
        gazes: Tensor,
        lids: Tensor,
        levels: Tensor,
    ) -> tuple[Tensor, ...]:
        """One picture."""
        # TensorRT takes bytes where they become numbers at once, and nowhere else.
        sources = [torso, head, mouth, eye_left, eye_right, arm_far, arm_near]
        body_flows, patch_flows = self.flows(pairs, patch_boxes, gazes, lids)
        shifts = F.interpolate(body_flows, size=(self.size, self.size), mode="bilinear").permute(0, 2, 3, 1)
        bodies, rest = len(BODIES), len(BODIES) + 1
        places = self.pixels + torch.cat([shifts[:bodies], self.patch_shifts(patch_flows, patch_boxes)])
        masks = self.masks(outline, arms, patch_boxes, ellipses)
        layers = self.laid(torch.cat([_planes_of(one) for one in sources]), places, masks)
        plate = self.plate.float()
        matte = ((layers[:, 3:] - MATTE_LOW) / (MATTE_HIGH - MATTE_LOW)).clamp(0.0, 1.0)
        prior = plate + (layers[:, :3] - plate) * matte
        near = (3.0 * (255.0 * _mean(matte, reach_px(self.size)) + 0.5).floor()).clamp(0.0, 255.0) / 255.0

        last = self.fetched(_planes_of(previous), self.pixels + shifts[bodies:rest])
        share = torch.where(near > 0.0, levels[1], levels[2])
        start = (prior + (last - prior) * share) / 127.5 - 1.0
        noise = self.moved_noise(self.pixels + shifts[rest:])
        free, drawn_hands = _planes_of(hands).tensor_split(2, 1)
        mesh = self.mesh(face) * free / 255.0
        guidance = torch.cat([_planes_of(structure), mesh, drawn_hands], 1) / 255.0
        clean = self.denoised(start, prior / 127.5 - 1.0, guidance, noise, levels[:1])
        painted = (clean * 127.5 + 127.5).clamp(0.0, 255.0)

        drawn = plate + (self.detailed(painted, prior) - plate) * near
        framed = self.framed(drawn, matte)
        return (
            _picture(drawn),
            _picture(painted),
            _bytes(255.0 * matte[:, 0]),
            _picture(framed),
            _bytes(_i420(framed)),
        )

    def flows(self, pairs: Tensor, boxes: Tensor, gazes: Tensor, lids: Tensor) -> tuple[Tensor, Tensor]:
        """Of FLOWS, and of PATCHES in their boxes: (R, 2, rows, columns) px."""
        bodies, patches = pairs.tensor_split((len(FLOWS),))
        soft, soft_patches = self.softness.tensor_split((len(FLOWS),))
        whole = solved(bodies, self.canvas, body_cells(self.size), soft, self.size)
        parts = solved(patches, boxes, patch_cells(self.size), soft_patches, self.size)
        first, last = PATCHES.index(EYES[0]), PATCHES.index(EYES[-1]) + 1
        eyes = looked(parts[first:last], boxes[first:last], gazes, lids)
        return whole, torch.cat([parts[:first], eyes, parts[last:]])

    def patch_shifts(self, flows: Tensor, boxes: Tensor) -> Tensor:
        """(P, S, S, 2): the patches' flows, bilinear in their boxes, whatever outside them."""
        cells = patch_cells(self.size)
        low, high, count = (boxes[:, None, None, at : at + 2] for at in (0, 2, 4))
        across = (self.pixels + 0.5 - low) * count / (high - low).clamp(min=1.0) - 0.5
        across = torch.minimum(across.clamp(min=0.0), (count - 1.0).clamp(min=0.0))
        shifts = F.grid_sample(
            flows, across * (2.0 / (cells - 1)) - 1.0, padding_mode="border", align_corners=True
        )
        return shifts.permute(0, 2, 3, 1)

    def masks(self, outline: Tensor, arms: Tensor, boxes: Tensor, ellipses: Tensor) -> Tensor:
        """(R, 1, S, S) 0..1: how far each source is laid: the torso all over."""
        low, high = boxes[:, None, None, 0:2], boxes[:, None, None, 2:4]
        within = ((self.pixels >= low) & (self.pixels < high)).all(-1).float()
        low, high = ellipses[:, None, None, 0:2], ellipses[:, None, None, 2:4]
        away = (self.pixels - low + 0.5) * 2.0 / (high - low).clamp(min=1.0) - 1.0
        soft = (3.0 * (1.0 - away.square().sum(-1).sqrt())).clamp(0.0, 1.0)
        parts, around_arms = within.tensor_split((len(FACE_PARTS),))
        edges = outline, outline.roll(-1, 0), torch.ones_like(outline[:, 0], dtype=torch.bool)
        head = _mean(filled(*edges, self.size)[None, None], outline_soft_px(self.size))[0]
        shown = around_arms * arms.float()[0] / 255.0
        return torch.cat([torch.ones_like(head), head, parts * soft, shown])[:, None]

    def fetched(self, planes: Tensor, places: Tensor) -> Tensor:
        """(N, C, S, S) from (N, S, S, 2) px of planes (N, C, S, S), 0..255."""
        places = (places * PHASES + 0.5).floor() * (2.0 / (PHASES * (self.size - 1))) - 1.0
        return F.grid_sample(planes, places, mode="bicubic", padding_mode="border", align_corners=True).clamp(
            0.0, 255.0
        )

    def laid(self, sources: Tensor, places: Tensor, masks: Tensor) -> Tensor:
        """(1, 4, S, S): one source after the other."""
        pixels = self.fetched(sources, places)
        fade_px = TOP_FADE_PX * self.size / 256
        above = (1.0 + places[: len(BODIES), ..., 1].clamp(max=0.0) / fade_px).clamp(min=0.0)
        kept = torch.cat([above, torch.ones_like(places[len(BODIES) :, ..., 1])])[:, None]
        pixels = torch.cat([pixels[:, :3], pixels[:, 3:] * kept], 1)
        layers = pixels[:1]
        for index in range(1, len(BODIES) + len(PATCHES)):
            layers = layers + (pixels[index : index + 1] - layers) * masks[index : index + 1]
        return layers

    def moved_noise(self, places: Tensor) -> Tensor:
        """The field at the nearest pixels, which keeps its variance; mirrored at its edges."""
        places = (places + 0.5).floor() * (2.0 / (self.size - 1)) - 1.0
        return F.grid_sample(
            self.field, places, mode="nearest", padding_mode="reflection", align_corners=True
        )

    def denoised(
        self, start: Tensor, prior: Tensor, guidance: Tensor, noise: Tensor, level: Tensor
    ) -> Tensor:
        """The mean of the draws, (1, 3, S, S)."""
        drawn = []
        for draw in range(self.steps):
            down, right = (draw * shift % self.size for shift in DRAW_SHIFT_PX)
            shifted = torch.roll(noise, (down, right), (2, 3)) if draw else noise
            drawn.append(self.network(start + level * (shifted - start), prior, guidance, level))
        mean: Tensor = sum(drawn[1:], drawn[0]) / self.steps
        return mean

    def detailed(self, painted: Tensor, prior: Tensor) -> Tensor:
        """As `engine.render.composer`: the prior's fine part where both agree in the coarse."""
        coarse, coarse_prior = _mean(painted, fine_px(self.size)), _mean(prior, fine_px(self.size))
        apart = (coarse - coarse_prior).abs().amax(1, keepdim=True) / AGREE
        return (painted + (-apart * apart).exp() * (prior - coarse_prior - painted + coarse)).clamp(
            0.0, 255.0
        )

    def framed(self, drawn: Tensor, matte: Tensor) -> Tensor:
        """As `engine.render.scene.Framer`, before the avatar's own room."""
        if self.layout is None:
            return drawn
        left, top, side = self.layout.left, self.layout.top, self.layout.side
        share = (3.0 * _mean(matte, self.layout.reach_px)).clamp(max=1.0) * self.inside
        share = F.interpolate(share, size=(side, side), mode="bilinear")
        person = F.interpolate(drawn, size=(side, side), mode="bicubic").clamp(0.0, 255.0)
        still = self.still.float()
        height, width = still.shape[2:]
        around = (left, width - left - side, top, height - top - side)
        return still + (F.pad(person, around) - still) * F.pad(share, around)


def _planes(rgb: U8Image) -> Tensor:
    return _planes_of(torch.from_numpy(rgb.copy())[None])


def _planes_of(pictures: Tensor) -> Tensor:
    return pictures.float().permute(0, 3, 1, 2)


def _mean(values: Tensor, side_px: int) -> Tensor:
    """Over a square around each pixel, mirrored at the edges without repeating them, as OpenCV's blur."""
    half = side_px // 2
    wide = F.pad(values, (half,) * 4, mode="reflect")
    return F.avg_pool2d(F.avg_pool2d(wide, (side_px, 1), stride=1), (1, side_px), stride=1)


def _bytes(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0.0, 255.0).to(torch.uint8)


def _picture(planes: Tensor) -> Tensor:
    return _bytes(planes.permute(0, 2, 3, 1))


def _i420(rgb: Tensor) -> Tensor:
    """(1, H * 3 / 2, W), 0..255: BT.601, video range; colour of each fourth pixel, as OpenCV."""
    red, green, blue = ((rgb + 0.5).floor() / 255.0).unbind(1)
    luma = 16.0 + 65.481 * red + 128.553 * green + 24.966 * blue
    red, green, blue = (one[:, ::2, ::2] for one in (red, green, blue))
    cb = 128.0 - 37.797 * red - 74.203 * green + 112.0 * blue
    cr = 128.0 + 112.0 * red - 93.786 * green - 18.214 * blue
    height, width = rgb.shape[2:]
    return torch.cat([luma] + [one.reshape(1, height // 4, width) for one in (cb, cr)], 1)
