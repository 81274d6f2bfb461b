package vm

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// childEnv makes the test binary begin a live backup of the named VM and hang, to be killed: "NAME SCRATCHDIR".
const childEnv = "VAULTFS_TEST_BEGIN"

func TestMain(m *testing.M) {
	var name, dir string
	if n, _ := fmt.Sscan(os.Getenv(childEnv), &name, &dir); n == 2 {
		beginAndHang(name, dir)
	}
	os.Exit(m.Run())
}

func beginAndHang(name, dir string) {
	h, err := connect(uri)
	if err == nil {
		d, err2 := h.lookup(name)
		if err = err2; err == nil {
			_, err = beginLive(context.Background(), d, &Options{ScratchDir: dir, NoQuiesce: true})
		}
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("begun")
	time.Sleep(time.Hour)
}
