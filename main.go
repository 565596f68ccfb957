// Command nodeprobe monitors the network between the hosts that it runs on.
package main

import (
	"os"

	"github.com/seahow-uk/nodeprobe/cmd"
)

func main() { os.Exit(cmd.Main(os.Args[1:])) }
