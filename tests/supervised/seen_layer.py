"""What a model gives, and what its layer for maps gave on the way."""


def run(model, images, layer=None):
    """Return the logits and the output of the layer for maps."""
    caught = []
    handle = model.get_submodule(layer or model.cam_layer).register_forward_hook(lambda _m, _i, out: caught.append(out))
    logits = model(images)
    handle.remove()
    return logits, caught[0]
