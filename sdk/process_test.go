package sdk_test

const envPlugin = "SDK_TEST_PLUGIN"

func servePlugin(string) {}
