"""What does everything stand on? Messages, arguments, hashes, paths, Keras' private names."""
