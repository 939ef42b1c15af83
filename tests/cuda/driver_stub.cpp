// Stands in for libcuda.so.1, which PyTorch's CUDA libraries look up but never call on fake tensors.
extern "C" {
int cuCtxGetCurrent() { return 0; }
int cuCtxSetCurrent() { return 0; }
int cuDeviceGet() { return 0; }
int cuDeviceGetAttribute() { return 0; }
int cuDevicePrimaryCtxRetain() { return 0; }
int cuFuncGetAttribute() { return 0; }
int cuFuncSetAttribute() { return 0; }
int cuFuncSetCacheConfig() { return 0; }
int cuGetErrorString() { return 0; }
int cuLaunchCooperativeKernel() { return 0; }
int cuLaunchKernel() { return 0; }
int cuLinkAddData_v2() { return 0; }
int cuLinkComplete() { return 0; }
int cuLinkCreate_v2() { return 0; }
int cuModuleGetFunction() { return 0; }
int cuModuleLoad() { return 0; }
int cuModuleLoadData() { return 0; }
int cuModuleLoadDataEx() { return 0; }
int cuModuleUnload() { return 0; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor() { return 0; }
int cuPointerGetAttribute() { return 0; }
int cuTensorMapEncodeTiled() { return 0; }
int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
}
