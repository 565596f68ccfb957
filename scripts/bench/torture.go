package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// tortureJobs is what "make torture-storage" does to the store. The tests that do
// it are those of "make test", with larger counts; one that fails has no figures.
func tortureJobs() []job {
	return []job{
		{"kill", torture("TestTortureKill", `(\d+) kills: (\d+) results acknowledged, \d+ kept, (\d+) lost, (\d+) doubled, (\d+) times not sound`,
			figure{"SIGKILL while writing, packing and trimming", 0, "kills", 0}, figure{"results acknowledged", 0, "results", 0},
			figure{"acknowledged and lost", 0, "results", none}, figure{"there twice", 0, "results", none},
			figure{"integrity_check not ok", 0, "times", none})},
		{"upgrade", torture("TestUpgradeKilled", `(\d+) upgrades killed, (\d+) of them before they were done: all complete`,
			figure{"SIGKILL during an upgrade, complete at the next start", 0, "kills", 0}, figure{"of them before it was done", 0, "kills", 0})},
		{"disk", torture("TestFullDisk", `(\d+) full disks: (\d+) results acknowledged, all there once, told (\d+) times`,
			figure{"disk full, and with room again", 0, "times", 0}, figure{"results acknowledged, all there once", 0, "results", 0},
			figure{"told", 0, "times", 0})},
		{"file", torture("TestTortureFile", `(\d+) damages: (\d+) told, (\d+) without effect, (\d+) told with wrong values, (\d+) not told`,
			figure{"bits flipped and files cut, no crash", 0, "times", 0}, figure{"told, what is gone is a gap", 0, "times", 0},
			figure{"without any effect", 0, "times", 0}, figure{"told, and a value is another", 0, "times", none},
			figure{"not told, and a value is another or gone", 0, "times", none})},
	}
}

// none is the bar of what must not happen.
const none = 0.5

// torture takes one figure of each number that the test prints.
func torture(test, says string, figures ...figure) func(context.Context) ([]figure, error) {
	return func(ctx context.Context) ([]figure, error) {
		cmd := exec.CommandContext(ctx, "go", "test", storePackage, "-run", "^"+test+"$", "-count", "1", "-v", "-timeout", "60m")
		cmd.Env = append(os.Environ(), "NODEPROBE_TORTURE=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		m := regexp.MustCompile(says).FindSubmatch(out)
		if m == nil {
			return nil, fmt.Errorf("no figures in what the test printed:\n%s", out)
		}
		for i := range figures {
			if figures[i].value, err = strconv.ParseFloat(string(m[i+1]), 64); err != nil {
				return nil, err
			}
		}
		return figures, nil
	}
}
