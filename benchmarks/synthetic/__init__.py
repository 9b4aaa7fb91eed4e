"""Makes the people whom training sees and the presenters who come with avatarcast. None of them exists."""
