// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface Operators {
    function operatorsIdsByAddress(address operator) external view returns (uint256);
}

/// @title Where operators say under which URL they answer health checks, for the local network and the tests.
/// @notice Views and events are those of the registry that health checks know. What becomes of an operator that fails
/// them is the business of a contract that sees outcomes, and of none here.
contract LivenessRegistry {
    struct Registration {
        uint256 operatorIndex; // the operator's id, from 1; 0 for who is not registered
        uint256 blockNumber; // of the registration
        string endpoint;
    }

    error NotRegistered(address operator);

    event OperatorRegistered(address operator, string endpoint);
    event OperatorUnregistered(address operator);
    event OperatorChangedEndpoint(address operator, string endpoint);

    Operators public immutable attestationCenter;
    mapping(address => Registration) public registrations;

    constructor(Operators center) {
        attestationCenter = center;
    }

    /// @notice Registers the sender's endpoint; the attestation center has to know the sender, and reverts if not.
    function register(string calldata endpoint) external {
        uint256 id = attestationCenter.operatorsIdsByAddress(msg.sender);
        registrations[msg.sender] = Registration(id, block.number, endpoint);
        emit OperatorRegistered(msg.sender, endpoint);
    }

    function changeEndpoint(string calldata endpoint) external {
        if (registrations[msg.sender].operatorIndex == 0) revert NotRegistered(msg.sender);
        registrations[msg.sender].endpoint = endpoint;
        emit OperatorChangedEndpoint(msg.sender, endpoint);
    }

    function unregister() external {
        if (registrations[msg.sender].operatorIndex == 0) revert NotRegistered(msg.sender);
        delete registrations[msg.sender];
        emit OperatorUnregistered(msg.sender);
    }
}
