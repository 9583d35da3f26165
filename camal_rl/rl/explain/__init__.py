"""Pictures of an agent's attention: a contact sheet of frames, a video and a viewer of an episode."""
