# SPDX-License-Identifier: Apache-2.0
# The target lossd::grpc: gRPC and protobuf. gRPC's own CMake package is used if there is one; Debian and Ubuntu install none.

find_package(Threads REQUIRED)
find_package(gRPC CONFIG QUIET)
if(NOT TARGET lossd::grpc)
  add_library(lossd::grpc INTERFACE IMPORTED)
  if(TARGET gRPC::grpc++)
    find_package(Protobuf REQUIRED)
    set_property(TARGET lossd::grpc PROPERTY INTERFACE_LINK_LIBRARIES gRPC::grpc++ protobuf::libprotobuf Threads::Threads)
  else()
    find_package(Protobuf REQUIRED)
    find_path(LOSSD_GRPC_INCLUDE_DIR grpcpp/grpcpp.h REQUIRED)
    find_library(LOSSD_GRPCPP_LIBRARY grpc++ REQUIRED)
    find_library(LOSSD_GRPC_LIBRARY grpc REQUIRED)
    find_library(LOSSD_GPR_LIBRARY gpr REQUIRED)
    set_property(TARGET lossd::grpc PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${LOSSD_GRPC_INCLUDE_DIR}")
    set_property(
      TARGET lossd::grpc
      PROPERTY INTERFACE_LINK_LIBRARIES "${LOSSD_GRPCPP_LIBRARY}" "${LOSSD_GRPC_LIBRARY}" "${LOSSD_GPR_LIBRARY}" protobuf::libprotobuf
               Threads::Threads)
  endif()
endif()
