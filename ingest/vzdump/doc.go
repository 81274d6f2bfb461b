// Package vzdump backs up the archives that vzdump of Proxmox VE writes: VMA of
// virtual machines and tar of containers.
package vzdump
