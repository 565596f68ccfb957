package path

const version = "1.0.0"
