"""Small models of timm, without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
from torch.nn import functional as F

from benchmarks.zoo.data import images
from benchmarks.zoo.specification import Entry, adamw, sgd, training

_CONVOLUTIONAL = (
    "resnet10t resnet14t resnet18d resnet26t resnetv2_18 resnetv2_50d_gn seresnext26d_32x4d "
    "regnetx_002 regnety_002 efficientnet_lite0 efficientnet_b0 mobilenetv2_050 "
    "mobilenetv3_small_050 mobilenetv4_conv_small_050 mobileone_s0 lcnet_050 tinynet_e "
    "mnasnet_small fbnetc_100 ghostnet_050 ghostnetv2_100 hardcorenas_a semnasnet_075 "
    "spnasnet_100 mixnet_s rexnet_100 dla46_c hrnet_w18_small hgnetv2_b0 densenet121 "
    "ese_vovnet19b_dw cs3darknet_s selecsls42 repvgg_a0 dpn48b skresnet18 resnest14d "
    "eca_resnet33ts gcresnext26ts nf_resnet26 nf_regnet_b0 nf_ecaresnet26 xception41 "
    "repghostnet_050 tresnet_m res2net50_14w_8s wide_resnet50_2 legacy_seresnet18 "
    "inception_v4 vgg11 vgg11_bn vgg13_bn dm_nfnet_f0 resnetblur18 darknetaa53 fbnetv3_b gernet_s "
    "eca_nfnet_l0 mobilenet_edgetpu_v2_xs test_resnet test_efficientnet "
    "test_nfnet test_byobnet "
)
_MODERN = (
    "convnext_atto convnext_femto convnextv2_atto edgenext_xx_small fastvit_t8 repvit_m0_9 "
    "poolformer_s12 poolformerv2_s12 mambaout_femto starnet_s1 inception_next_atto "
    "efficientvit_b0 efficientvit_m0 mobilevit_xxs mobilevitv2_050 pvt_v2_b0 rdnet_tiny "
    "convmixer_768_32 caformer_s18 convformer_s18 test_convnext nextvit_small shvit_s1 "
    "mobilenetv4_hybrid_medium lambda_resnet26t davit_tiny efficientformer_l1 "
)
_OF_SIZE: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"patch_size": 8},
    "vit_tiny_r_s16_p8_224": {},
    "deit_tiny_patch16_224": {"patch_size": 8},
    "deit_tiny_distilled_patch16_224": {"patch_size": 8},
    "deit3_small_patch16_224": {"patch_size": 8, "depth": 6},
    "cait_xxs24_224": {"patch_size": 8},
    "xcit_nano_12_p16_224": {},
    "convit_tiny": {"patch_size": 8},
    "crossvit_tiny_240": {},
    "eva02_tiny_patch14_224": {"patch_size": 8},
    "beit_base_patch16_224": {"patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 3},
    "mixer_s16_224": {},
    "gmixer_12_224": {},
    "resmlp_12_224": {},
    "gmlp_ti16_224": {},
    "pit_ti_224": {},
    "levit_128s": {},
    "levit_conv_128s": {},
    "coat_lite_tiny": {},
    "swin_tiny_patch4_window7_224": {"window_size": 4},
    "swinv2_tiny_window8_256": {"window_size": 4},
    "swinv2_cr_tiny_ns_224": {},
    "tiny_vit_5m_224": {},
    "twins_svt_small": {},
    "visformer_tiny": {},
    "volo_d1_224": {},
    "tnt_s_legacy_patch16_224": {},
    "mvitv2_tiny": {},
    "hiera_tiny_224": {},
    "gcvit_xxtiny": {},
    "focalnet_tiny_srf": {},
    "sequencer2d_s": {},
    "efficientformerv2_s0": {},
    "coatnet_nano_rw_224": {},
    "maxvit_rmlp_pico_rw_256": {},
    "nest_tiny": {},
    "botnet26t_256": {},
    "test_vit": {"patch_size": 8},
    "naflexvit_base_patch16_gap": {"embed_dim": 96, "depth": 4, "num_heads": 3, "patch_size": 8},
}
_SIDES = {
    "crossvit_tiny_240": 120,
    "twins_svt_small": 64,
    "gcvit_xxtiny": 64,
    "coat_lite_tiny": 64,
    "tnt_s_legacy_patch16_224": 64,
    "levit_128s": 64,
    "levit_conv_128s": 64,
    "nest_tiny": 64,
    "mixer_s16_224": 64,
    "gmixer_12_224": 64,
    "resmlp_12_224": 64,
    "gmlp_ti16_224": 64,
    "hiera_tiny_224": 64,
    "maxvit_rmlp_pico_rw_256": 64,
    "coatnet_nano_rw_224": 64,
    "mvitv2_tiny": 64,
    "swin_tiny_patch4_window7_224": 64,
    "swinv2_tiny_window8_256": 64,
    "volo_d1_224": 64,
    "swinv2_cr_tiny_ns_224": 64,
    "tiny_vit_5m_224": 64,
    "visformer_tiny": 64,
    "pit_ti_224": 64,
    "xcit_nano_12_p16_224": 64,
    "vit_tiny_r_s16_p8_224": 64,
    "focalnet_tiny_srf": 64,
    "sequencer2d_s": 64,
    "efficientformerv2_s0": 64,
    "inception_v4": 80,
    "ghostnetv2_100": 64,
    "botnet26t_256": 64,
    "lambda_resnet26t": 64,
    "mobilevit_xxs": 64,
    "mobilevitv2_050": 64,
    "edgenext_xx_small": 64,
    "nextvit_small": 64,
    "efficientvit_m0": 64,
    "legacy_seresnet18": 64,
    "mobilenetv4_hybrid_medium": 64,
    "halonet26t": 64,
    "efficientformer_l1": 224,  # its positions are of that size alone
}
_UNSIZED = {"focalnet_tiny_srf", "tiny_vit_5m_224"}
_SMALL = {
    "resnet10t",
    "test_resnet",
    "test_efficientnet",
    "test_nfnet",
    "test_byobnet",
    "test_vit",
    "test_convnext",
    "lcnet_050",
    "tinynet_e",
    "mobilenetv3_small_050",
    "convnext_atto",
    "regnetx_002",
    "cait_xxs24_224",
    "xcit_nano_12_p16_224",
    "vit_tiny_patch16_224",
    "nf_resnet26",
    "dla46_c",
    "mixer_s16_224",
}


def _entry(name: str, family: str, **arguments: Any) -> Entry:
    size = _SIDES.get(name, 32)
    fed = partial(images, size=size, batch=8) if size > 100 else partial(images, size=size)
    if name in _OF_SIZE and name not in _UNSIZED:
        arguments |= {"img_size": size}
    steep = sgd(0.1, nesterov=True) if "nf" not in name and name != "vgg11" else sgd(0.01)
    return Entry(
        f"timm {name}",
        "timm",
        family,
        partial(timm.create_model, name, pretrained=False, num_classes=10, **arguments),
        fed,
        training(F.cross_entropy, steep if family == "convolutional" else adamw(5e-4, 0.05)),
        confirm=name in _SMALL,
    )


ENTRIES = [
    *(_entry(name, "convolutional") for name in _CONVOLUTIONAL.split()),
    *(_entry(name, "modern") for name in _MODERN.split()),
    *(_entry(name, "transformer", **more) for name, more in _OF_SIZE.items()),
    # Blocks of 8 positions need larger images.
    _entry("halonet26t", "transformer", self_attn_kwargs={"block_size": 2, "halo_size": 1}),
]
