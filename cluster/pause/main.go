// The sandbox process of every pod: holds the pod's namespaces until it is told to stop. Released images of it
// live in registries only, so the cluster packs its own.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	os.Exit(0)
}
