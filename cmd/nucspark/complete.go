package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nucspark.io/nucspark/hdfs"
	"nucspark.io/nucspark/inventory"
	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/spark"
)

// complete completes names that follow from the inventory, for most arguments,
// or any number of them for 0. It contacts no machine, so that a shell need not
// wait. With a file that cannot be read there is nothing to complete.
func (a *App) complete(most int, names func(*inventory.Cluster) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := inventory.Load(a.File)
		if err != nil || most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		left := slices.DeleteFunc(names(c), func(name string) bool { return slices.Contains(args, name) })
		slices.Sort(left)
		return slices.Compact(left), cobra.ShellCompDirectiveNoFileComp
	}
}

// completePair is complete for a name and what depends on it.
func (a *App) completePair(first func(*inventory.Cluster) []string, second func(c *inventory.Cluster, first string) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return a.complete(2, func(c *inventory.Cluster) []string { return second(c, args[0]) })(cmd, args, begun)
		}
		return a.complete(1, first)(cmd, args, begun)
	}
}

func nodeNames(c *inventory.Cluster) []string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// replaceable are the nodes that another machine may take the place of.
func replaceable(c *inventory.Cluster) []string {
	return slices.DeleteFunc(nodeNames(c), func(name string) bool { return name == c.ControlPlane().Name })
}

// storing are the nodes with data directories.
func storing(c *inventory.Cluster) []string {
	return slices.DeleteFunc(nodeNames(c), func(name string) bool { return len(directoriesOf(c, name)) == 0 })
}

func directoriesOf(c *inventory.Cluster, node string) []string {
	n, ok := c.Node(node)
	if !ok {
		return nil
	}
	return dataDirectories(n)
}

func volumeNames(c *inventory.Cluster) []string {
	var names []string
	for _, v := range c.Volumes {
		names = append(names, v.Name)
	}
	return names
}

// volumeNode is the node that the file gives a volume, which is where move may
// take it.
func volumeNode(c *inventory.Cluster, volume string) []string {
	for _, v := range c.Volumes {
		if v.Name == volume {
			return []string{v.Node}
		}
	}
	return nil
}

// pageNames are the pages that are there as long as the cluster is, and the
// machines that have one.
func pageNames(c *inventory.Cluster) []string {
	var names []string
	for _, p := range pagesOf(c) {
		if p.Name != "" {
			names = append(names, p.Name)
		} else {
			names = append(names, p.Node)
		}
	}
	return names
}

// partsOf lists what prints logs as long as the cluster is there.
func partsOf(c *inventory.Cluster) []provision.Part { return append(hdfs.Parts(c), spark.Parts(c)...) }

// logNames are those parts, and the machines.
func logNames(c *inventory.Cluster) []string {
	names := nodeNames(c)
	for _, p := range partsOf(c) {
		names = append(names, p.Name)
	}
	return names
}

// wakeable are the nodes whose network card is known.
func wakeable(c *inventory.Cluster) []string {
	var names []string
	for _, n := range c.Nodes {
		if n.MAC != "" {
			names = append(names, n.Name)
		}
	}
	return names
}

// goneNodes are machines that runs from this computer worked on and that the
// file no longer names. Only such can leave the cluster.
func goneNodes(c *inventory.Cluster) []string {
	var names []string
	for step := range readDurations(c.Name) {
		name := provision.NodeOf(step)
		if _, there := c.Node(name); name != "" && !there {
			names = append(names, name)
		}
	}
	return names
}

// goneVolumes are volumes that runs from this computer made and that the file
// no longer names.
func goneVolumes(c *inventory.Cluster) []string {
	var names []string
	for step := range readDurations(c.Name) {
		name, is := strings.CutPrefix(step, "cluster/nfs/volume/")
		if is && !slices.ContainsFunc(c.Volumes, func(v inventory.Volume) bool { return v.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}
