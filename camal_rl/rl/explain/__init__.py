"""Where an agent looks, as pictures: a contact sheet of frames, the video of an episode."""
