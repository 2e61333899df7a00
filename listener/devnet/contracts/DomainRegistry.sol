// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Takes requests to register or update a DNS record, for the local network and the tests.
/// @notice Nothing is stored but the count: the event is the request, and a task answers it.
contract DomainRegistry {
    event RecordRequested(
        uint256 indexed requestId, address indexed requester, string domain, string recordType, string value
    );

    /// @notice How many were made; the last one's id.
    uint256 public requests;

    /// @notice Asks for one record. Whether the sender controls the domain is what the task finds out.
    function requestRecord(string calldata domain, string calldata recordType, string calldata value)
        external
        returns (uint256 requestId)
    {
        requestId = ++requests;
        emit RecordRequested(requestId, msg.sender, domain, recordType, value);
    }
}
