"""An avatar and its file: what it holds, how it is read and written, the presenters that come along."""
