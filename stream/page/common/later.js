// Resolves when this time is over.
export const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
