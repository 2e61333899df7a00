// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The views and events by which OpenZeppelin's AccessControl is known; ERC-165 id 0x7965db0b.
interface IAccessControl {
    function hasRole(bytes32 role, address account) external view returns (bool);
    function getRoleAdmin(bytes32 role) external view returns (bytes32);
    function grantRole(bytes32 role, address account) external;
    function revokeRole(bytes32 role, address account) external;
    function renounceRole(bytes32 role, address callerConfirmation) external;
}

/// @dev What its enumerable variant adds; ERC-165 id 0x5a05180f.
interface IAccessControlEnumerable {
    function getRoleMember(bytes32 role, uint256 index) external view returns (address);
    function getRoleMemberCount(bytes32 role) external view returns (uint256);
}

/// @title Roles and who has them, for the local network and the tests.
/// @notice Who deploys it has the role of zeros, the admin of all roles. Members can be replayed from events alone.
contract Roles is IAccessControl {
    error AccessControlUnauthorizedAccount(address account, bytes32 neededRole);
    error AccessControlBadConfirmation();

    event RoleAdminChanged(bytes32 indexed role, bytes32 indexed previousAdminRole, bytes32 indexed newAdminRole);
    event RoleGranted(bytes32 indexed role, address indexed account, address indexed sender);
    event RoleRevoked(bytes32 indexed role, address indexed account, address indexed sender);

    bytes32 public constant DEFAULT_ADMIN_ROLE = 0;

    mapping(bytes32 => mapping(address => bool)) public hasRole;
    mapping(bytes32 => bytes32) public getRoleAdmin;

    constructor() {
        _grant(DEFAULT_ADMIN_ROLE, msg.sender);
    }

    modifier onlyAdminOf(bytes32 role) {
        bytes32 admin = getRoleAdmin[role];
        if (!hasRole[admin][msg.sender]) revert AccessControlUnauthorizedAccount(msg.sender, admin);
        _;
    }

    function grantRole(bytes32 role, address account) external onlyAdminOf(role) {
        _grant(role, account);
    }

    function revokeRole(bytes32 role, address account) external onlyAdminOf(role) {
        _revoke(role, account);
    }

    function renounceRole(bytes32 role, address callerConfirmation) external {
        if (callerConfirmation != msg.sender) revert AccessControlBadConfirmation();
        _revoke(role, msg.sender);
    }

    function setRoleAdmin(bytes32 role, bytes32 admin) external onlyAdminOf(role) {
        emit RoleAdminChanged(role, getRoleAdmin[role], admin);
        getRoleAdmin[role] = admin;
    }

    function supportsInterface(bytes4 id) public view virtual returns (bool) {
        return id == 0x01ffc9a7 || id == type(IAccessControl).interfaceId;
    }

    /// @dev Granting what is held, and revoking what is not, changes nothing and emits nothing.
    function _grant(bytes32 role, address account) internal virtual returns (bool changed) {
        changed = !hasRole[role][account];
        if (changed) {
            hasRole[role][account] = true;
            emit RoleGranted(role, account, msg.sender);
        }
    }

    function _revoke(bytes32 role, address account) internal virtual returns (bool changed) {
        changed = hasRole[role][account];
        if (changed) {
            hasRole[role][account] = false;
            emit RoleRevoked(role, account, msg.sender);
        }
    }
}

/// @title The same with members that can be listed.
contract EnumerableRoles is Roles, IAccessControlEnumerable {
    mapping(bytes32 => address[]) internal members; // in no order: who leaves is replaced by the last

    function getRoleMember(bytes32 role, uint256 index) external view returns (address) {
        return members[role][index];
    }

    function getRoleMemberCount(bytes32 role) external view returns (uint256) {
        return members[role].length;
    }

    function getRoleMembers(bytes32 role) external view returns (address[] memory) {
        return members[role];
    }

    function supportsInterface(bytes4 id) public view override returns (bool) {
        return id == type(IAccessControlEnumerable).interfaceId || super.supportsInterface(id);
    }

    function _grant(bytes32 role, address account) internal override returns (bool changed) {
        changed = super._grant(role, account);
        if (changed) members[role].push(account);
    }

    function _revoke(bytes32 role, address account) internal override returns (bool changed) {
        changed = super._revoke(role, account);
        if (!changed) return false;
        address[] storage list = members[role];
        for (uint256 place = 0; place < list.length; ++place) {
            if (list[place] == account) {
                list[place] = list[list.length - 1];
                list.pop();
                break;
            }
        }
    }
}
